//! A network that fails to order: an HTTP/1.1 proxy on 127.0.0.1 that does to each request what
//! a script says.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use ctx0_stack::fault::{Fault, FaultProxy};
//!
//! let proxy = FaultProxy::start("http://127.0.0.1:54321").await?;
//! proxy.script([Fault::Pass, Fault::ResetAfterAnswer]);
//! // … let a client talk to `proxy.url()`; its second request is answered but hears nothing …
//! proxy.settle().await;
//! assert_eq!(proxy.records()[1].upstream, [200]);
//! # Ok(())
//! # }
//! ```
//!
//! Every connection carries one request, towards the client as well as towards upstream. What
//! upstream was given it may finish: the proxy reads every answer to its end even when the client
//! is long gone, because `PostgREST` does not cancel either. [`FaultProxy::settle`] waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use self::wire::{Message, Reply};

mod schedule;
#[cfg(test)]
mod tests;
mod wire;

pub use self::schedule::{replay, schedule};

/// What happens to one request.
///
/// Wherever the client hears of an answer, it is upstream's own unless the variant says otherwise.
/// An answer that has no body by its nature (to `HEAD`, or with status 204 or 304) is whole
/// without one, so the faults in a body do nothing to it but close or reset the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: upstream's answer reaches the client as it is.
    Pass,
    /// Upstream gets the request only after this time.
    Delay(Duration),
    /// The connection is reset as soon as the client speaks. Nothing is read, and upstream never
    /// sees the request.
    Refuse,
    /// The request is read to its end, then the connection is reset. Upstream never sees it.
    ResetBeforeSending,
    /// Upstream gets the whole request and works on; the client is cut off at once.
    ResetAfterRequest,
    /// Upstream has answered, so its work is done; the client is cut off without a byte.
    ResetAfterAnswer,
    /// The client gets the head and half of the body, then a reset.
    ResetInAnswer,
    /// A gateway answers with this status by itself. Upstream never sees the request.
    Status(u16, Page),
    /// A gateway answers with this status by itself, while upstream works on the request.
    StatusAfterRequest(u16, Page),
    /// The client gets half of the body that `content-length` announces, then a clean close.
    Truncated,
    /// The client gets upstream's head over a body of this many spaces.
    Oversized(u64),
    /// The client gets upstream's head over a chunked body of spaces that does not end before the
    /// client hangs up.
    Endless,
    /// Upstream gets the request twice at once. The client gets the answer to the second copy.
    Duplicate,
    /// Upstream gets the request again, this long after it answered the first copy, or at
    /// [`FaultProxy::deliver_now`]. The client gets that first answer, and does not wait
    /// for the second.
    LateDuplicate(Duration),
    /// The response, head included, arrives in chunks of `chunk` bytes with a pause after each.
    SlowBytes {
        /// Bytes in a chunk; 0 counts as 1.
        chunk: usize,
        /// The pause after each chunk.
        every: Duration,
    },
}

impl Fault {
    /// The fault's name without its details, as [`FaultProxy::counts`] uses it.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Pass => "pass",
            Fault::Delay(_) => "delay",
            Fault::Refuse => "refuse",
            Fault::ResetBeforeSending => "reset before sending",
            Fault::ResetAfterRequest => "reset after request",
            Fault::ResetAfterAnswer => "reset after answer",
            Fault::ResetInAnswer => "reset in answer",
            Fault::Status(..) => "status",
            Fault::StatusAfterRequest(..) => "status after request",
            Fault::Truncated => "truncated",
            Fault::Oversized(_) => "oversized",
            Fault::Endless => "endless",
            Fault::Duplicate => "duplicate",
            Fault::LateDuplicate(_) => "late duplicate",
            Fault::SlowBytes { .. } => "slow bytes",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Fault::Delay(time) | Fault::LateDuplicate(time) => write!(f, " {time:?}"),
            Fault::Status(status, page) | Fault::StatusAfterRequest(status, page) => {
                write!(f, " {status} {page:?}")
            }
            Fault::Oversized(bytes) => write!(f, " {bytes} bytes"),
            Fault::SlowBytes { chunk, every } => write!(f, " {chunk} bytes every {every:?}"),
            Fault::Pass
            | Fault::Refuse
            | Fault::ResetBeforeSending
            | Fault::ResetAfterRequest
            | Fault::ResetAfterAnswer
            | Fault::ResetInAnswer
            | Fault::Truncated
            | Fault::Endless
            | Fault::Duplicate => Ok(()),
        }
    }
}

/// The body of an answer that a gateway makes up by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// A page for people, `text/html`.
    Html,
    /// One line of `text/plain`.
    Text,
    /// No body and no content type.
    Empty,
}

/// What happened to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The fault that it met.
    pub fault: Fault,
    /// Its method; empty where the request was not read to its end.
    pub method: String,
    /// Its path and query as the client wrote them; empty like `method`.
    pub path: String,
    /// How many copies of it upstream was given in full.
    pub delivered: usize,
    /// The statuses of upstream's whole answers, in the order in which they ended.
    pub upstream: Vec<u16>,
}

/// A proxy that injects faults. Dropping it closes its port; what upstream was given goes on.
#[derive(Debug)]
pub struct FaultProxy {
    url: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

impl FaultProxy {
    /// Starts a proxy on a free port of 127.0.0.1 in front of `upstream`, an `http` URL whose
    /// server need not be up yet. While it is away, clients are cut off.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] where `upstream` is not `http://host…`, or what the system
    /// says when no port can be had.
    pub async fn start(upstream: &str) -> io::Result<FaultProxy> {
        let invalid = || {
            let message = format!("{upstream:?} is not of the form http://host:port");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        };
        let uri: Uri = upstream.parse().map_err(|_| invalid())?;
        if uri.scheme_str() != Some("http") {
            return Err(invalid());
        }
        let host = uri.host().ok_or_else(invalid)?;
        let port = uri.port_u16().unwrap_or(80);

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: format!("{host}:{port}"),
            state: Mutex::new(State {
                script: VecDeque::new(),
                gateway_timeout: Duration::MAX,
                records: Vec::new(),
            }),
            hurry: watch::Sender::new(false),
            flights: TaskTracker::new(),
        });
        shared.flights.close();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(FaultProxy {
            url: format!("http://{address}{}", uri.path().trim_end_matches('/')),
            address,
            shared,
            accepting,
        })
    }

    /// The URL to give to the client in the place of upstream's, with the same path and without a
    /// slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Appends to the script. Requests take one fault each, in the order in which their first
    /// byte arrives, and pass when the script is used up.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.state().script.extend(faults);
    }

    /// Drops what is left of the script: from now on requests pass.
    pub fn clear(&self) {
        self.shared.state().script.clear();
    }

    /// Lets the proxy time out as a gateway does: if upstream has not responded after this time, the
    /// client gets a 504 and upstream continues. `None` waits without limit, as a new proxy does. A
    /// request that is already waiting keeps its old limit.
    pub fn gateway_timeout(&self, limit: Option<Duration>) {
        self.shared.state().gateway_timeout = limit.unwrap_or(Duration::MAX);
    }

    /// Ends the wait of every [`Fault::Delay`] and [`Fault::LateDuplicate`], now and from now on.
    pub fn deliver_now(&self) {
        self.shared.hurry.send_replace(true);
    }

    /// What happened so far, one record a request, in the order in which their first byte arrived.
    pub fn records(&self) -> Vec<Record> {
        self.shared.state().records.clone()
    }

    /// How many requests met each fault so far, by [`Fault::name`].
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for record in &self.shared.state().records {
            *counts.entry(record.fault.name()).or_default() += 1;
        }
        counts
    }

    /// Waits until upstream has ended everything that it was given or that is on its way to it:
    /// requests whose client is gone, delayed ones and late duplicates included.
    ///
    /// A client that has connected and holds back its request holds this up too.
    pub async fn settle(&self) {
        // A client may have sent its request and gone before the proxy even accepted its
        // connection. Connections are accepted in order, so once this one has been answered, all
        // earlier ones are counted. It fails only where nothing can be accepted any more.
        if let Ok(mut knock) = TcpStream::connect(self.address).await
            && knock.shutdown().await.is_ok()
        {
            let _ = knock.read(&mut [0]).await;
        }
        self.shared.flights.wait().await;
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (client, _) = listener.accept().await.expect("a connection to the proxy");
        let flight = shared.flights.token();
        tokio::spawn(Arc::clone(&shared).serve(client, flight));
    }
}

/// What the tasks of a proxy share.
#[derive(Debug)]
struct Shared {
    upstream: String,
    state: Mutex<State>,
    /// Whether what waits is to be delivered now.
    hurry: watch::Sender<bool>,
    /// Counts what may still reach upstream or is being worked on there.
    flights: TaskTracker,
}

#[derive(Debug)]
struct State {
    script: VecDeque<Fault>,
    gateway_timeout: Duration,
    records: Vec<Record>,
}

impl Shared {
    async fn serve(self: Arc<Self>, mut client: TcpStream, flight: TaskTrackerToken) {
        // A connection that is opened and closed without a word is no request and takes no fault.
        if !matches!(client.peek(&mut [0]).await, Ok(1..)) {
            return;
        }
        // Whatever goes wrong behind the proxy is a cut connection in front of it.
        let reply = self.reply(&mut client).await.unwrap_or(Reply::RESET);
        drop(flight);
        // An error here says that the client has hung up, which is its right.
        let _ = reply.send(client).await;
    }

    /// Does to upstream what the script says and returns what the client is to get.
    async fn reply(self: &Arc<Self>, client: &mut TcpStream) -> io::Result<Reply> {
        let (index, fault) = self.take_fault();
        if fault == Fault::Refuse {
            return Ok(Reply::RESET);
        }
        let request = Message::request(client).await?;
        self.note(index, |record| {
            record.method = request.method().to_owned();
            record.path = request.path().to_owned();
        });
        Ok(match fault {
            Fault::Pass => Reply::Whole(self.answer(index, &request).await?.bytes()),
            Fault::Delay(time) => {
                self.wait(time).await;
                Reply::Whole(self.answer(index, &request).await?.bytes())
            }
            Fault::Refuse | Fault::ResetBeforeSending => Reply::RESET,
            Fault::ResetAfterRequest => {
                self.deliver(index, &request).await?;
                Reply::RESET
            }
            Fault::ResetAfterAnswer => {
                self.answer(index, &request).await?;
                Reply::RESET
            }
            Fault::ResetInAnswer => Reply::Reset(self.answer(index, &request).await?.half()),
            Fault::Status(status, page) => Reply::Whole(Message::page(status, page).bytes()),
            Fault::StatusAfterRequest(status, page) => {
                self.deliver(index, &request).await?;
                Reply::Whole(Message::page(status, page).bytes())
            }
            Fault::Truncated => Reply::Whole(self.answer(index, &request).await?.half()),
            Fault::Oversized(length) => {
                let head = self.answer(index, &request).await?.head_for(length);
                Reply::Oversized { head, length }
            }
            Fault::Endless => {
                let head = self.answer(index, &request).await?.head_for_chunks();
                Reply::Endless { head }
            }
            Fault::Duplicate => {
                self.deliver(index, &request).await?;
                Reply::Whole(self.answer(index, &request).await?.bytes())
            }
            Fault::LateDuplicate(time) => {
                let answer = self.answer(index, &request).await?;
                let shared = Arc::clone(self);
                self.flights.spawn(async move {
                    shared.wait(time).await;
                    // Where upstream is away by then, the duplicate is lost, as the record shows.
                    let _ = shared.deliver(index, &request).await;
                });
                Reply::Whole(answer.bytes())
            }
            Fault::SlowBytes { chunk, every } => Reply::Dripped {
                bytes: self.answer(index, &request).await?.bytes(),
                chunk: chunk.max(1),
                every,
            },
        })
    }

    /// Waits for this time, or until [`FaultProxy::deliver_now`].
    async fn wait(&self, time: Duration) {
        let mut hurry = self.hurry.subscribe();
        // The sender lives in `self`, so only the time or the word ends this.
        let _ = tokio::time::timeout(time, hurry.wait_for(|hurry| *hurry)).await;
    }

    /// Delivers the request and waits for the answer, as long as a gateway would.
    async fn answer(self: &Arc<Self>, index: usize, request: &Message) -> io::Result<Message> {
        let limit = self.state().gateway_timeout;
        let answering = self.deliver(index, request).await?;
        match tokio::time::timeout(limit, answering).await {
            Ok(answer) => answer.map_err(io::Error::other)?,
            Err(_elapsed) => Ok(Message::page(504, Page::Html)),
        }
    }

    /// Gives upstream the whole request and returns the task that reads its answer, which goes on
    /// to the end whether or not anyone waits for it.
    async fn deliver(
        self: &Arc<Self>,
        index: usize,
        request: &Message,
    ) -> io::Result<JoinHandle<io::Result<Message>>> {
        let mut upstream = TcpStream::connect(&self.upstream).await?;
        upstream.set_nodelay(true)?;
        upstream.write_all(&request.bytes()).await?;
        self.note(index, |record| record.delivered += 1);

        let shared = Arc::clone(self);
        let method = request.method().to_owned();
        Ok(self.flights.spawn(async move {
            let answer = Message::answer(&mut upstream, &method).await?;
            let status = answer.status()?;
            shared.note(index, |record| record.upstream.push(status));
            Ok(answer)
        }))
    }

    /// Takes the next fault from the script and opens the record of the request that meets it.
    fn take_fault(&self) -> (usize, Fault) {
        let mut state = self.state();
        let fault = state.script.pop_front().unwrap_or(Fault::Pass);
        state.records.push(Record {
            fault: fault.clone(),
            method: String::new(),
            path: String::new(),
            delivered: 0,
            upstream: Vec::new(),
        });
        (state.records.len() - 1, fault)
    }

    fn note(&self, index: usize, write: impl FnOnce(&mut Record)) {
        write(&mut self.state().records[index]);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No change to the state can be left half done, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
