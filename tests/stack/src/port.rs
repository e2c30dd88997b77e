//! A port that stays one's own while nobody listens on it.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::TcpSocket;

/// A port of 127.0.0.1, for a server that is started more than once, or never.
///
/// On Linux the system gives it to nobody else, neither to a server that asks for any port nor to
/// a client that connects, because it stays bound here. A server that sets `SO_REUSEADDR`, as
/// PostgreSQL and tokio do, can listen on it all the same. The port of the same number of `::1` is
/// kept too: chromedriver asks for any port of that, and then takes the one of 127.0.0.1 as such a
/// server. Elsewhere it is only known to have been free.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Bound, and never listened on.
    _bound: Vec<TcpSocket>,
}

impl Port {
    /// Takes a free port.
    ///
    /// # Errors
    ///
    /// What the system says when there is none.
    pub fn reserve() -> io::Result<Port> {
        until_free(|| Port::bind(0))
    }

    fn bind(number: u16) -> io::Result<Port> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, number)))?;
        // After binding: two sockets that both have it before may bind the same port.
        socket.set_reuseaddr(true)?;
        let number = socket.local_addr()?.port();
        let mut bound = vec![socket];
        match bind_v6(number) {
            Ok(socket) => bound.push(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // There is no IPv6 here.
            Err(_) => {}
        }
        if !cfg!(target_os = "linux") {
            bound.clear();
        }
        Ok(Port {
            number,
            _bound: bound,
        })
    }

    /// Takes two free ports in a row, for a server that takes the next one as well.
    ///
    /// # Errors
    ///
    /// What the system says when there are none.
    pub fn pair() -> io::Result<[Port; 2]> {
        until_free(|| {
            let first = Port::bind(0)?;
            let next = first.number.checked_add(1);
            let next = next.ok_or(io::ErrorKind::AddrInUse)?;
            Ok([first, Port::bind(next)?])
        })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Tries again where the system chose a port that is free for IPv4 alone, or whose next is not.
fn until_free<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..100 {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    bind()
}

fn bind_v6(number: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v6()?;
    socket.bind(SocketAddr::from((Ipv6Addr::LOCALHOST, number)))?;
    Ok(socket)
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

    #[test]
    #[cfg(target_os = "linux")]
    fn who_gets_a_port_of_ipv6_does_not_get_the_number_of_a_reserved_one() {
        let Ok(taken) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
            // Without IPv6 nobody gets one of its ports.
            return;
        };
        assert!(Port::bind(taken.local_addr().unwrap().port()).is_err());

        let port = Port::reserve().unwrap();
        let other = TcpSocket::new_v6().unwrap();
        other.set_reuseaddr(true).unwrap();
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port.number()));
        let error = other.bind(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
