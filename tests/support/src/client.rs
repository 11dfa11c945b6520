//! A strict client: it reads exactly what RFC 9112 allows, and fails the test for anything else.

use std::fmt::{self, Write as _};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::wait::PATIENCE;

/// A connection to a server, and the bytes that were received and not read yet.
pub struct Connection {
    socket: Socket,
    unread: Vec<u8>,
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Response {
    /// Status line and fields.
    pub header: HeaderSection,
    /// The content, without chunks.
    pub body: Vec<u8>,
}

/// The status line and the fields of a response.
#[derive(Debug)]
pub struct HeaderSection {
    /// Three digits.
    pub status: u16,
    /// What follows them.
    pub reason: String,
    /// Names and values, in their order.
    pub fields: Vec<(String, String)>,
}

// ---- connecting

impl Connection {
    /// Connects to an address of this machine.
    #[track_caller]
    pub fn to(address: SocketAddr) -> Self {
        Self::through(Socket::new(Domain::for_address(address), Type::STREAM, None), &address.into())
    }

    /// Connects from another of this machine's own addresses, as if from another machine.
    #[track_caller]
    pub fn from(source: impl Into<IpAddr>, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.and_then(|socket| {
            socket.bind(&SocketAddr::new(source.into(), 0).into())?;
            Ok(socket)
        });
        Self::through(socket, &address.into())
    }

    /// Connects to a unix socket.
    #[track_caller]
    pub fn to_unix(path: &Path) -> Self {
        let address = SockAddr::unix(path).expect("the path is short");
        Self::through(Socket::new(Domain::UNIX, Type::STREAM, None), &address)
    }

    /// Connects with small buffers: few bytes are on the way that one side has sent and the other not read.
    #[track_caller]
    pub fn with_small_buffer(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).and_then(|socket| {
            socket.set_recv_buffer_size(16 << 10)?;
            socket.set_send_buffer_size(16 << 10)?;
            Ok(socket)
        });
        Self::through(socket, &address.into())
    }

    #[track_caller]
    fn through(socket: io::Result<Socket>, address: &SockAddr) -> Self {
        let socket = socket.expect("there is a descriptor left");
        let connected =
            if address.is_unix() { socket.connect(address) } else { socket.connect_timeout(address, PATIENCE) };
        connected.expect("the server accepts connections");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket can time out");
        socket.set_write_timeout(Some(PATIENCE)).expect("a socket can time out");
        Self { socket, unread: Vec::new() }
    }

    /// The same connection, for a thread that sends while another reads.
    pub fn second_handle(&self) -> Self {
        Self { socket: self.socket.try_clone().expect("there is a descriptor left"), unread: Vec::new() }
    }

    /// The address of this end.
    pub fn local_address(&self) -> SocketAddr {
        self.socket.local_addr().ok().and_then(|address| address.as_socket()).expect("TCP has addresses")
    }
}

// ---- sending

impl Connection {
    /// Sends bytes that the server must accept.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).expect("the server accepts what is sent");
    }

    /// Sends bytes to a server that may close meanwhile.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.write_all(bytes.as_ref())
    }

    /// Closes the sending half, and can go on reading.
    #[track_caller]
    pub fn finish(&self) {
        self.socket.shutdown(std::net::Shutdown::Write).expect("the connection is there");
    }

    /// The same, where the server may have closed meanwhile.
    pub fn try_finish(&self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    /// Disconnects by a reset, as a process does that is killed while bytes are on their way to it.
    pub fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).expect("a socket can linger");
    }

    /// Sends a request. A line of its header section is `Name: value`.
    #[track_caller]
    pub fn send_request(&mut self, method: &str, target: &str, lines: &[&str]) {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
        for line in lines {
            let _ = write!(request, "{line}\r\n");
        }
        request.push_str("\r\n");
        self.send(request);
    }

    /// Sends a request, and reads the response.
    #[track_caller]
    pub fn request(&mut self, method: &str, target: &str, lines: &[&str]) -> Response {
        self.send_request(method, target, lines);
        if method == "HEAD" { self.response_to_head() } else { self.response() }
    }

    /// The response to a `GET`.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, &[])
    }

    /// The response to a `GET` with a `Range` field.
    #[track_caller]
    pub fn get_range(&mut self, target: &str, range: &str) -> Response {
        self.request("GET", target, &[&format!("Range: {range}")])
    }
}

// ---- reading

impl Connection {
    /// Reads more. False: the server has closed.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 << 10];
        let count = self.socket.read(&mut piece)?;
        self.unread.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    #[track_caller]
    fn need(&mut self, what: &str) {
        let there = self.fill();
        let unread = self.unread.escape_ascii();
        assert!(matches!(there, Ok(true)), "{what} is missing ({there:?}) after \"{unread}\"");
    }

    /// Reads up to and with the next CRLF, and gives what is before it.
    #[track_caller]
    pub fn line(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let rest = self.unread.split_off(end + 2);
                let mut line = std::mem::replace(&mut self.unread, rest);
                line.truncate(end);
                assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "a line ends with CRLF and nothing else");
                return line;
            }
            assert!(self.unread.len() < 64 << 10, "a line ends somewhere");
            self.need("the end of a line");
        }
    }

    /// Reads the header section of a response, an interim one too.
    #[track_caller]
    pub fn header_section(&mut self) -> HeaderSection {
        let status_line = String::from_utf8(self.line()).expect("a status line is ASCII");
        let (status, reason) = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.split_once(' '))
            .unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
        let status =
            status.parse().ok().filter(|status| (100..600).contains(status)).expect("a status has three digits");
        let mut fields = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            fields.push(field(line));
        }
        let header = HeaderSection { status, reason: reason.to_owned(), fields };
        header.check();
        header
    }

    /// Reads a whole response to anything but `HEAD`.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        let header = self.header_section();
        let body = match header.framing() {
            Framing::Nothing => Vec::new(),
            Framing::Length(length) => {
                self.read_exactly(usize::try_from(length).expect("a test's file fits in memory"))
            }
            Framing::Chunks => self.chunks(),
            Framing::UntilClose => self.read_to_close(),
        };
        Response { header, body }
    }

    /// Reads the response to a `HEAD`.
    #[track_caller]
    pub fn response_to_head(&mut self) -> Response {
        Response { header: self.header_section(), body: Vec::new() }
    }

    /// Reads `count` bytes.
    #[track_caller]
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.unread);
        if bytes.len() > count {
            self.unread = bytes.split_off(count);
            return bytes;
        }
        let there = bytes.len();
        bytes.resize(count, 0);
        if let Err(error) = self.socket.read_exact(&mut bytes[there..]) {
            panic!("{count} bytes were promised, and end before: {error}");
        }
        bytes
    }

    #[track_caller]
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let count = self.chunk_size();
            if count == 0 {
                return body;
            }
            body.extend(self.read_exactly(count));
            assert!(self.line().is_empty(), "a chunk ends with an empty line");
        }
    }

    /// Reads the line that begins a chunk, and gives the chunk's size. 0: that was the last, read to its end.
    #[track_caller]
    pub fn chunk_size(&mut self) -> usize {
        let size = String::from_utf8(self.line()).expect("a chunk's size is ASCII");
        let count = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("not a chunk's size: {size:?}"));
        if count == 0 {
            assert!(self.line().is_empty(), "no trailers were promised");
        }
        count
    }

    /// Reads until the server closes. A reset is not a close.
    #[track_caller]
    pub fn read_to_close(&mut self) -> Vec<u8> {
        while self.fill().expect("the server closes in good order") {}
        std::mem::take(&mut self.unread)
    }

    /// Reads until the connection ends, by a close or by a reset.
    #[track_caller]
    pub fn read_to_cut(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("the connection does not end: {error}"),
            }
        }
        std::mem::take(&mut self.unread)
    }

    /// Reads until the server resets the connection: what came is not all that there is.
    #[track_caller]
    pub fn read_to_reset(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => panic!("the connection ends in good order"),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("the connection does not end: {error}"),
            }
        }
        std::mem::take(&mut self.unread)
    }

    /// Reads what is there or comes next into a buffer, and gives how much: 0 at the end.
    #[track_caller]
    pub fn read_into(&mut self, buffer: &mut [u8]) -> usize {
        self.try_read(buffer).expect("the connection is in good order")
    }

    /// The same, of a server that may reset the connection.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            return self.socket.read(buffer);
        }
        let count = buffer.len().min(self.unread.len());
        buffer[..count].copy_from_slice(&self.unread[..count]);
        self.unread.drain(..count);
        Ok(count)
    }

    /// Whether the server ends the connection within this time. Bytes that come until then are kept.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        self.socket.set_read_timeout(Some(time)).expect("a socket can time out");
        let read = self.fill();
        self.socket.set_read_timeout(Some(PATIENCE)).expect("a socket can time out");
        match read {
            Ok(is_open) => !is_open,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Checks that the server closes in good order, and sends nothing before.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let rest = self.read_to_close();
        assert!(rest.is_empty(), "the server sends more: {:?}", rest.escape_ascii().to_string());
    }

    /// Checks that the connection can be used for another request.
    #[track_caller]
    pub fn expect_open(&mut self) {
        assert!(self.unread.is_empty(), "the server sends more: {:?}", self.unread.escape_ascii().to_string());
        let response = self.request("OPTIONS", "*", &[]);
        assert_eq!(response.status(), 204, "the connection can be used for more");
    }
}

/// Reads a line of a header section, strictly.
#[track_caller]
fn field(line: Vec<u8>) -> (String, String) {
    let is_control = line.iter().any(u8::is_ascii_control);
    assert!(!is_control, "control characters in {:?}", line.escape_ascii().to_string());
    let line = String::from_utf8(line).expect("the server sends nothing that is not UTF-8");
    let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("not a field: {line:?}"));
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    assert!(!name.is_empty() && name.bytes().all(is_token), "not a name: {line:?}");
    assert!(value.trim() == value, "blanks around the value: {line:?}");
    (name.to_owned(), value.to_owned())
}

/// Where the body of a response ends.
enum Framing {
    Nothing,
    Length(u64),
    Chunks,
    UntilClose,
}

// ---- what was read

impl HeaderSection {
    /// The value of a field that may be there once.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        value
    }

    /// The value of a field that must be there.
    #[track_caller]
    pub fn expect_field(&self, name: &str) -> &str {
        self.field(name).unwrap_or_else(|| panic!("{name} is missing: {self:?}"))
    }

    /// What no response may get wrong, whatever it is about.
    #[track_caller]
    fn check(&self) {
        for name in ["Content-Length", "Transfer-Encoding", "Content-Type", "Date", "Connection", "ETag", "Location"] {
            self.field(name);
        }
        if self.field("Transfer-Encoding").is_some() {
            assert_eq!(self.field("Content-Length"), None, "a body has one end: {self:?}");
        }
        if self.has_no_body() {
            assert_eq!(self.field("Content-Length"), None, "there is nothing to have a length: {self:?}");
            assert_eq!(self.field("Transfer-Encoding"), None, "there is nothing to be encoded: {self:?}");
        }
    }

    fn has_no_body(&self) -> bool {
        self.status < 200 || matches!(self.status, 204 | 304)
    }

    #[track_caller]
    fn framing(&self) -> Framing {
        match (self.field("Content-Length"), self.field("Transfer-Encoding")) {
            _ if self.has_no_body() => Framing::Nothing,
            (Some(length), _) => Framing::Length(length.parse().expect("a length is a number")),
            (None, Some(coding)) => {
                assert_eq!(coding, "chunked", "no other coding was negotiated");
                Framing::Chunks
            }
            (None, None) => Framing::UntilClose,
        }
    }
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.header.status
    }

    /// The value of a field that may be there once.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.header.field(name)
    }

    /// The value of a field that must be there.
    #[track_caller]
    pub fn expect_field(&self, name: &str) -> &str {
        self.header.expect_field(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks status and body. Bodies are too long to be shown whole.
    #[track_caller]
    pub fn is(&self, status: u16, body: &[u8]) {
        assert_eq!(self.status(), status, "{}", Shown(self));
        let same = self.body.iter().zip(body).take_while(|(a, b)| a == b).count();
        let lengths = (self.body.len(), body.len());
        assert!(self.body == body, "another body: lengths {lengths:?}, the same up to {same}: {:?}", self.header);
    }

    /// Whether the server closes after this response.
    pub fn closes(&self) -> bool {
        self.field("Connection") == Some("close")
    }
}

/// A response with as much of its body as one wants to see.
struct Shown<'a>(&'a Response);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Response { header, body } = self.0;
        let start = &body[..body.len().min(200)];
        write!(f, "{header:?} and {} bytes: {}", body.len(), start.escape_ascii())
    }
}
