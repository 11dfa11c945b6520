//! What can be wrong with a request.

use crate::status::Status;

/// What can be wrong with a request. After each of these the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A CR without an LF after it (RFC 9112 section 2.2).
    BareCr,
    /// An LF without a CR before it. The RFC lets a server accept it, but a proxy in front might not.
    BareLf,
    /// NUL or another control character (RFC 9110 section 5.5).
    ControlCharacter,
    /// More than one empty line before a request (RFC 9112 section 2.2).
    LeadingEmptyLines,
    /// A folded line (RFC 9112 section 5.2).
    ObsoleteFold,
    /// A request line that is not three words with single blanks in between (RFC 9112 section 3), as in
    /// HTTP/0.9.
    RequestLineInvalid,
    /// A method that is not a token.
    MethodInvalid,
    /// A target that has none of the four forms, the wrong form for its method, a fragment, or a broken
    /// escape (RFC 9112 section 3.2).
    TargetInvalid,
    /// A path that leads out of the root (RFC 3986 section 5.2.4).
    TargetEscapes,
    /// A request line longer than 8 KiB.
    LineTooLong,
    /// A version that is not `HTTP/` digit `.` digit (RFC 9112 section 2.3).
    VersionInvalid,
    /// A major version other than 1.
    VersionUnsupported,
    /// A header section longer than 16 KiB.
    HeaderSectionTooLarge,
    /// More than 100 fields.
    TooManyFields,
    /// A line without a colon, without a name, or with blanks before the colon (RFC 9112 section 5.1).
    FieldNameInvalid,
    /// HTTP/1.1 without `Host` (RFC 9112 section 3.2).
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// A `Host` or an authority that is not a host, optionally with a port.
    HostInvalid,
    /// A length that is not a number (RFC 9110 section 8.6).
    ContentLengthInvalid,
    /// Several lengths that differ.
    ContentLengthsDiffer,
    /// The same length twice. The RFC lets a server accept it, but nobody sends it without a reason.
    ContentLengthRepeated,
    /// `Content-Length` together with `Transfer-Encoding` (RFC 9112 section 6.1), the classic way to smuggle
    /// requests.
    LengthWithTransferEncoding,
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112 section 6.1).
    TransferEncodingInOldVersion,
    /// A list of transfer codings in which `chunked` is missing, repeated, or not last.
    TransferEncodingInvalid,
    /// A transfer coding other than chunked (RFC 9112 section 6.1).
    TransferEncodingUnknown,
    /// An invalid chunk, chunk size, extension or trailer (RFC 9112 section 7.1).
    ChunkInvalid,
    /// A body longer than 64 KiB, for which the server has no use.
    BodyTooLarge,
    /// An expectation other than `100-continue` (RFC 9110 section 10.1.1).
    ExpectationUnknown,
}

impl Malformed {
    /// The status of the response.
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
