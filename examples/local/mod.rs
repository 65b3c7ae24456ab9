//! Owns where the frameworks' examples listen: on this machine alone, at the port of the first argument.

use std::env;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Takes the port, 3000 unless the argument names another, and 0 for any free one. The listener does not
/// block, as an asynchronous runtime wants it.
pub(crate) fn listen() -> Result<(TcpListener, SocketAddr), String> {
    let port = env::args().nth(1).unwrap_or_else(|| "3000".to_owned());
    let port: u16 =
        port.parse().map_err(|_| format!("{port:?} is no port; write a number from 0 to 65535"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        format!("cannot listen on port {port} ({error}); give another as the argument, or 0")
    })?;
    let address = listener.set_nonblocking(true).and_then(|()| listener.local_addr());
    Ok((listener, address.map_err(|error| error.to_string())?))
}
