//! A server that does no work: every request is answered at once by a bare reply header.
//!
//! What the generator reaches against it is what it could reach at most; a result far below that was set by the
//! server under test.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use anyhow::Result;

use crate::raw::Body;

/// Starts the reference on a free port; it serves until the process ends.
pub(super) fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || serve(socket));
        }
    });
    Ok(address)
}

/// One connection, to its end.
fn serve(mut socket: TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut received = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut out = Vec::new();
    let mut greeted = false;
    loop {
        let count = socket.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        received.extend_from_slice(&buffer[..count]);
        let mut rest = received.as_slice();
        while let Some(head) = rest.first_chunk::<4>() {
            let length = 4 + u32::from_be_bytes(*head) as usize;
            let Some(frame) = rest.get(..length) else { break };
            if greeted {
                out.extend_from_slice(&16u32.to_be_bytes());
                out.extend_from_slice(&frame[4..8]);
                out.extend_from_slice(&[0; 12]);
            } else {
                greeted = true;
                let welcome = Body::new().int(0).int(40_000).long(1).bytes([0; 16]).raw([0]);
                out.extend_from_slice(&welcome.frame());
            }
            rest = &rest[length..];
        }
        let used = received.len() - rest.len();
        received.drain(..used);
        socket.write_all(&out)?;
        out.clear();
    }
}
