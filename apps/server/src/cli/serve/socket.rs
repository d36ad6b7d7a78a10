//! The address where requests are taken.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use tokio::net::TcpSocket;

use crate::cli::CliError;

/// How many connections may wait to be taken.
const BACKLOG: u32 = 2048;

/// An address that is this process's own. Connections are refused until it listens, so that a
/// balancer turns to a node that serves.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: TcpSocket,
    wanted: String,
}

impl Socket {
    /// Takes the address.
    pub(crate) fn bind(wanted: &str) -> Result<Self, CliError> {
        let failed = || CliError::io(format!("cannot listen on {wanted}"));
        let mut last = None;
        for address in wanted.to_socket_addrs().map_err(failed())? {
            match bound(address) {
                Ok(socket) => {
                    return Ok(Self {
                        socket,
                        wanted: wanted.to_owned(),
                    });
                }
                Err(error) => last = Some(error),
            }
        }
        let nothing = || std::io::Error::other("it names no address");
        Err(failed()(last.unwrap_or_else(nothing)))
    }

    /// Takes connections from now on.
    pub(crate) fn listen(self) -> Result<(TcpListener, SocketAddr), CliError> {
        let Self { socket, wanted } = self;
        let listening = socket.listen(BACKLOG).and_then(|listener| {
            let listener = listener.into_std()?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        listening.map_err(CliError::io(format!("cannot listen on {wanted}")))
    }
}

fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Connections of the process before that are closing do not stand in the way; one that listens
    // does.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_one_process_s_and_refuses_until_it_listens() {
        let socket = Socket::bind("127.0.0.1:0").unwrap();
        let address = socket.socket.local_addr().unwrap();
        assert!(std::net::TcpStream::connect(address).is_err());
        let (_listener, same) = socket.listen().unwrap();
        assert_eq!(same, address);
        assert!(std::net::TcpStream::connect(address).is_ok());
        let taken = Socket::bind(&address.to_string()).unwrap_err().to_string();
        assert!(taken.contains(&address.to_string()), "{taken}");
    }
}
