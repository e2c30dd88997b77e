//! HTTP/1.1 as far as the proxy needs it: messages are read whole, and a connection carries one
//! request and one answer.

use std::io;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Page;

/// A request or an answer, read to its end.
pub(super) struct Message {
    /// The request line or the status line.
    start: String,
    /// The other lines of the head, without those that concern one connection only.
    fields: Vec<String>,
    /// None where the message has no body by its nature, which is not the same as an empty one.
    body: Option<Vec<u8>>,
}

impl Message {
    /// Reads a request. Fails where the client hangs up before its end or does not speak HTTP/1.1.
    pub(super) async fn request(stream: &mut TcpStream) -> io::Result<Message> {
        let mut stream = BufReader::new(stream);
        let (mut request, framing) = read_head(&mut stream).await?;
        if framing != Framing::UntilClose {
            request.body = Some(read_body(&mut stream, framing).await?);
        }
        Ok(request)
    }

    /// Reads the answer to a request of this method. Fails where upstream hangs up before its end.
    pub(super) async fn answer(stream: &mut TcpStream, method: &str) -> io::Result<Message> {
        let mut stream = BufReader::new(stream);
        let (mut answer, framing) = read_head(&mut stream).await?;
        if method != "HEAD" && !matches!(answer.status()?, 204 | 304) {
            answer.body = Some(read_body(&mut stream, framing).await?);
        }
        Ok(answer)
    }

    /// An answer as gateways give it, which know nothing of upstream's.
    pub(super) fn page(status: u16, page: Page) -> Message {
        let reason = StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or_default();
        let (kind, body) = match page {
            Page::Html => (
                Some("text/html"),
                format!(
                    "<!DOCTYPE html>\n<html><head><title>{status} {reason}</title></head>\n\
                     <body><h1>{reason}</h1><p>The gateway is sorry.</p></body></html>\n"
                ),
            ),
            Page::Text => (Some("text/plain"), format!("{reason}\n")),
            Page::Empty => (None, String::new()),
        };
        Message {
            start: format!("HTTP/1.1 {status} {reason}"),
            fields: kind
                .map(|kind| format!("content-type: {kind}"))
                .into_iter()
                .collect(),
            body: Some(body.into_bytes()),
        }
    }

    pub(super) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// Path and query as the request line has them.
    pub(super) fn path(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    pub(super) fn status(&self) -> io::Result<u16> {
        let code = self.start.split(' ').nth(1).unwrap_or_default();
        code.parse().map_err(|_| malformed(&self.start))
    }

    /// The whole message.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match &self.body {
            None => self.head(None),
            Some(body) => {
                let mut bytes = self.head_for(body.len() as u64);
                bytes.extend(body);
                bytes
            }
        }
    }

    /// The message without the second half of its body. Its head announces the whole, or a byte
    /// that never comes where there is nothing to halve.
    pub(super) fn half(&self) -> Vec<u8> {
        let body = self.body.as_deref().unwrap_or_default();
        let mut bytes = self.head_for(body.len().max(1) as u64);
        bytes.extend(&body[..body.len() / 2]);
        bytes
    }

    /// The head for a body of this many bytes.
    pub(super) fn head_for(&self, length: u64) -> Vec<u8> {
        self.head(Some(&format!("content-length: {length}")))
    }

    /// The head for a body that comes in chunks.
    pub(super) fn head_for_chunks(&self) -> Vec<u8> {
        self.head(Some("transfer-encoding: chunked"))
    }

    fn head(&self, framing: Option<&str>) -> Vec<u8> {
        let fields = self.fields.iter().map(String::as_str);
        let mut head = self.start.clone();
        for field in fields.chain(framing).chain(["connection: close"]) {
            head.push_str("\r\n");
            head.push_str(field);
        }
        head.push_str("\r\n\r\n");
        head.into_bytes()
    }
}

/// What the client gets.
pub(super) enum Reply {
    /// These bytes and a clean close.
    Whole(Vec<u8>),
    /// These bytes and a reset.
    Reset(Vec<u8>),
    /// These bytes, chunk by chunk with a pause after each, and a clean close.
    Dripped {
        bytes: Vec<u8>,
        chunk: usize,
        every: Duration,
    },
    /// This head, so many spaces and a clean close.
    Oversized { head: Vec<u8>, length: u64 },
    /// This head and spaces in chunks until the client hangs up.
    Endless { head: Vec<u8> },
}

impl Reply {
    /// A reset without a byte.
    pub(super) const RESET: Reply = Reply::Reset(Vec::new());

    /// Sends the reply and ends the connection. Fails where the client hangs up first.
    pub(super) async fn send(self, mut client: TcpStream) -> io::Result<()> {
        // Small chunks are to leave at once, above all before a reset, which drops what waits.
        client.set_nodelay(true)?;
        match self {
            Reply::Whole(bytes) => client.write_all(&bytes).await?,
            Reply::Reset(bytes) => {
                client.write_all(&bytes).await?;
                return client.set_zero_linger();
            }
            Reply::Dripped {
                bytes,
                chunk,
                every,
            } => {
                for part in bytes.chunks(chunk) {
                    client.write_all(part).await?;
                    tokio::time::sleep(every).await;
                }
            }
            Reply::Oversized { head, length } => {
                client.write_all(&head).await?;
                let mut spaces = tokio::io::repeat(b' ').take(length);
                tokio::io::copy(&mut spaces, &mut client).await?;
            }
            Reply::Endless { head } => {
                client.write_all(&head).await?;
                let chunk = format!("{CHUNK:x}\r\n{:CHUNK$}\r\n", "");
                loop {
                    client.write_all(chunk.as_bytes()).await?;
                }
            }
        }
        client.shutdown().await
    }
}

/// How the end of a body is found.
#[derive(PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    /// The head does not say: an answer then ends with its connection, a request has no body.
    UntilClose,
}

type Reader<'a> = BufReader<&'a mut TcpStream>;

/// Reads a head. The fields that it drops are those that [`Message::head`] rewrites, and
/// `expect`, since nobody waits for an interim answer to a request that is sent whole.
async fn read_head(stream: &mut Reader<'_>) -> io::Result<(Message, Framing)> {
    let mut message = Message {
        start: read_line(stream).await?,
        fields: Vec::new(),
        body: None,
    };
    let mut framing = Framing::UntilClose;
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            return Ok((message, framing));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                let length = value.trim().parse().map_err(|_| malformed(&line))?;
                framing = Framing::Length(length);
            }
            "transfer-encoding" => framing = Framing::Chunked,
            "connection" | "keep-alive" | "expect" => {}
            _ => message.fields.push(line),
        }
    }
}

async fn read_body(stream: &mut Reader<'_>, framing: Framing) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match framing {
        Framing::Length(length) => read_exactly(stream, length, &mut body).await?,
        Framing::UntilClose => {
            stream.read_to_end(&mut body).await?;
        }
        Framing::Chunked => loop {
            let line = read_line(stream).await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = u64::from_str_radix(digits, 16).map_err(|_| malformed(&line))?;
            if length == 0 {
                // Trailers may stand before the empty line that ends the body.
                while !read_line(stream).await?.is_empty() {}
                break;
            }
            read_exactly(stream, length, &mut body).await?;
            read_line(stream).await?;
        },
    }
    Ok(body)
}

async fn read_exactly(stream: &mut Reader<'_>, length: u64, into: &mut Vec<u8>) -> io::Result<()> {
    let read = stream.take(length).read_to_end(into).await?;
    if (read as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Reads one line and returns it without its end.
async fn read_line(stream: &mut Reader<'_>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    match line.strip_suffix('\n') {
        None => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(line) => Ok(line.strip_suffix('\r').unwrap_or(line).to_owned()),
    }
}

fn malformed(line: &str) -> io::Error {
    let message = format!("{line:?} does not belong in HTTP/1.1");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Bytes in a chunk of an endless body.
const CHUNK: usize = 8192;
