//! An upstream that gives away whatever it is told: it refuses every request, and says the request
//! back, its credential included.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use acceptance::Failure;
use serde_json::json;

/// Listens on a free port until the process ends.
pub(super) fn start() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || refuse(stream));
        }
    });
    Ok(address)
}

/// `gpt-4o` is refused as a stranger, `gpt-4o-mini` breaks.
fn refuse(mut stream: TcpStream) {
    let Some(said) = request(&mut stream) else {
        return;
    };
    let status = if said.contains("gpt-4o-mini") {
        "500 Broken"
    } else {
        "401 Unauthorized"
    };
    let error =
        json!({ "message": said, "type": "invalid_request_error", "code": "invalid_api_key" });
    let body = json!({ "error": error }).to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    drop(stream.write_all(format!("{head}{body}").as_bytes()));
}

/// A request, as far as its length says.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        said.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&said).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= length(head)
        {
            return Some(text);
        }
    }
}

fn length(head: &str) -> usize {
    let line = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    line.unwrap_or(0)
}
