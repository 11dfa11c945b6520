//! What a client can do wrong, so that its connection cannot be used any more.

use crate::status::Status;

/// What a client can do wrong, so that its connection cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A CR without an LF after it (RFC 9112 section 2.2).
    BareCr,
    /// An LF without a CR before it. The RFC lets a server accept it; then a proxy before it may not.
    BareLf,
    /// NUL or another control character (RFC 9110 section 5.5).
    ControlCharacter,
    /// More than one empty line before a request (RFC 9112 section 2.2).
    LeadingEmptyLines,
    /// A line that goes on in the next one (RFC 9112 section 5.2).
    ObsoleteFold,
    /// A request line that is not three words with single blanks between (RFC 9112 section 3). Also what
    /// HTTP/0.9 sent.
    RequestLineInvalid,
    /// A method that is no token.
    MethodInvalid,
    /// A target of none of the four forms, of the wrong form for its method, with a fragment, or with a
    /// broken escape (RFC 9112 section 3.2).
    TargetInvalid,
    /// A path that leads out of the root (RFC 3986 section 5.2.4).
    TargetEscapes,
    /// A request line longer than 8 KiB.
    LineTooLong,
    /// A version that is not `HTTP/` digit `.` digit (RFC 9112 section 2.3).
    VersionInvalid,
    /// A version that is not 1.
    VersionUnsupported,
    /// A head longer than 16 KiB.
    HeaderSectionTooLarge,
    /// More than 100 fields.
    TooManyFields,
    /// A line without a colon, without a name, or with blanks before the colon (RFC 9112 section 5.1).
    FieldNameInvalid,
    /// HTTP/1.1 without `Host` (RFC 9112 section 3.2).
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// A `Host` or an authority that is not a host and perhaps a port.
    HostInvalid,
    /// A length that is not one number (RFC 9110 section 8.6).
    ContentLengthInvalid,
    /// Lengths that contradict each other.
    ContentLengthsDiffer,
    /// One length said twice. The RFC lets a server accept it; nobody sends it without a reason.
    ContentLengthRepeated,
    /// `Content-Length` next to `Transfer-Encoding` (RFC 9112 section 6.1): the classic of smuggling.
    LengthWithTransferEncoding,
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112 section 6.1).
    TransferEncodingInOldVersion,
    /// A transfer coding that ends nowhere: `chunked` is missing, twice, or not last.
    TransferEncodingInvalid,
    /// A transfer coding other than chunked (RFC 9112 section 6.1).
    TransferEncodingUnknown,
    /// A chunk, its size, its extension or its trailer that is not as RFC 9112 section 7.1 has it.
    ChunkInvalid,
    /// A body longer than 64 KiB, for which nobody here has any use.
    BodyTooLarge,
    /// An expectation other than `100-continue` (RFC 9110 section 10.1.1).
    ExpectationUnknown,
}

impl Malformed {
    /// What the client is told.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::LineTooLong => Status::UriTooLong,
            Self::HeaderSectionTooLarge | Self::TooManyFields => Status::FieldsTooLarge,
            Self::VersionUnsupported => Status::VersionNotSupported,
            Self::TransferEncodingUnknown => Status::NotImplemented,
            Self::BodyTooLarge => Status::ContentTooLarge,
            Self::ExpectationUnknown => Status::ExpectationFailed,
            _ => Status::BadRequest,
        }
    }
}
