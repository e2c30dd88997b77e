//! A port that stays one's own while nobody listens on it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::net::TcpSocket;

/// A port of 127.0.0.1, for a server that is started more than once, or never.
///
/// On Linux the system gives it to nobody else, neither to a server that asks for any port nor to
/// a client that connects, because it stays bound here. A server that sets `SO_REUSEADDR`, as
/// PostgreSQL and tokio do, can listen on it all the same. Elsewhere it is only known to have been
/// free.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Bound, and never listened on.
    _bound: Option<TcpSocket>,
}

impl Port {
    /// Takes a free port.
    ///
    /// # Errors
    ///
    /// What the system says when there is none.
    pub fn reserve() -> io::Result<Port> {
        Port::bind(0)
    }

    fn bind(number: u16) -> io::Result<Port> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, number)))?;
        // After binding: two sockets that both have it before may bind the same port.
        socket.set_reuseaddr(true)?;
        Ok(Port {
            number: socket.local_addr()?.port(),
            _bound: cfg!(target_os = "linux").then_some(socket),
        })
    }

    /// Takes two free ports in a row, for a server that takes the next one as well.
    ///
    /// # Errors
    ///
    /// What the system says when there are none.
    pub fn pair() -> io::Result<[Port; 2]> {
        loop {
            let first = Port::reserve()?;
            let Some(next) = first.number.checked_add(1) else {
                continue;
            };
            if let Ok(second) = Port::bind(next) {
                return Ok([first, second]);
            }
        }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_server_can_come_and_go_on_a_port_that_nobody_else_gets() {
        let port = Port::reserve().unwrap();
        let address = (Ipv4Addr::LOCALHOST, port.number());
        for _ in 0..2 {
            let server = TcpListener::bind(address).unwrap();
            TcpStream::connect(address).unwrap();
            drop(server);
            assert!(TcpStream::connect(address).is_err());
        }
        // Without `SO_REUSEADDR`, as one who chooses a port for himself.
        let other = TcpSocket::new_v4().unwrap();
        assert!(other.bind(SocketAddr::from(address)).is_err());
        // As the second port of a pair.
        assert!(Port::bind(port.number()).is_err());
    }
}
