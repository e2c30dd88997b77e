//! A network that is far away: a TCP proxy on 127.0.0.1 that adds a round trip and counts what passes.
//!
//! It works on bytes, so it serves HTTP, TLS and PostgreSQL's protocol alike. A connection of the
//! client's is there at once, as any on one machine is; what it sends first waits for the round trip
//! that a handshake over such a distance would have taken.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// What has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that a client made.
    pub connections: usize,
    /// How often a client spoke after it had listened, or first: round trips without handshakes.
    pub round_trips: usize,
    /// Bytes from clients.
    pub sent: usize,
    /// Bytes to clients.
    pub received: usize,
}

/// A proxy that is this far away. Dropping it closes it.
#[derive(Debug)]
pub struct Distance {
    address: SocketAddr,
    counts: Arc<Mutex<Counts>>,
    accepting: JoinHandle<()>,
}

impl Distance {
    /// Listens for `upstream`, such as `127.0.0.1:5432`, and adds a round trip.
    ///
    /// # Errors
    ///
    /// What the system says when it cannot listen.
    pub async fn start(upstream: &str, round_trip: Duration) -> io::Result<Distance> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let counts = Arc::<Mutex<Counts>>::default();
        let accepting = tokio::spawn(accept(
            listener,
            upstream.to_owned(),
            round_trip,
            Arc::clone(&counts),
        ));
        Ok(Distance {
            address,
            counts,
            accepting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has passed since the start or since this was called last.
    pub fn take_counts(&self) -> Counts {
        std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Distance {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    upstream: String,
    round_trip: Duration,
    counts: Arc<Mutex<Counts>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let made = Instant::now() + round_trip;
        let (upstream, counts) = (upstream.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            // A connection that breaks is the client's to notice.
            let _ = connect(client, &upstream, made, round_trip / 2, counts).await;
        });
    }
}

async fn connect(
    client: TcpStream,
    upstream: &str,
    made: Instant,
    way: Duration,
    counts: Arc<Mutex<Counts>>,
) -> io::Result<()> {
    let upstream = TcpStream::connect(upstream).await?;
    for stream in [&client, &upstream] {
        stream.set_nodelay(true)?;
    }
    count(&counts, |counts| counts.connections += 1);
    let (from_client, to_client) = client.into_split();
    let (from_upstream, to_upstream) = upstream.into_split();
    let listened = Arc::new(Mutex::new(true));
    let spoke = {
        let (counts, listened) = (Arc::clone(&counts), Arc::clone(&listened));
        move |bytes| {
            let turn =
                std::mem::take(&mut *listened.lock().unwrap_or_else(PoisonError::into_inner));
            count(&counts, |counts| {
                counts.sent += bytes;
                counts.round_trips += usize::from(turn);
            });
        }
    };
    let heard = move |bytes| {
        *listened.lock().unwrap_or_else(PoisonError::into_inner) = true;
        count(&counts, |counts| counts.received += bytes);
    };
    tokio::join!(
        carry(from_client, to_upstream, made, way, spoke),
        carry(from_upstream, to_client, made, way, heard),
    );
    Ok(())
}

fn count(counts: &Mutex<Counts>, change: impl FnOnce(&mut Counts)) {
    change(&mut counts.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Carries bytes one way, each `way` later than it was sent, and none that was sent before the
/// connection was `made`.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    made: Instant,
    way: Duration,
    passed: impl Fn(usize),
) {
    let (send, mut under_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            passed(length);
            let arrives = Instant::now().max(made) + way;
            if send.send((arrives, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((arrives, bytes)) = under_way.recv().await {
            sleep_until(arrives).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_first_question_takes_two_round_trips_and_another_one() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let echo = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        });
        let round_trip = Duration::from_millis(50);
        let distance = Distance::start(&echo, round_trip).await.unwrap();
        let began = Instant::now();
        let mut stream = TcpStream::connect(distance.address()).await.unwrap();
        for trips in [2, 3] {
            stream.write_all(b"question").await.unwrap();
            let mut answer = [0; 8];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"question");
            assert!(began.elapsed() >= trips * round_trip);
        }
        assert_eq!(
            distance.take_counts(),
            Counts {
                connections: 1,
                round_trips: 2,
                sent: 16,
                received: 16
            }
        );
        assert_eq!(distance.take_counts(), Counts::default());
    }
}
