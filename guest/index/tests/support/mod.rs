//! A host as the contract has it: passes a source to an index in pieces, watches that every rule is kept,
//! and composes what viewers get.

use multiclient_index::{Header, Index, Join, Limits, Loss, Mark, Patch, Progress};

/// The most that the contract lets a host pass at once.
pub(crate) const LARGEST_PIECE: usize = 64 << 10;

/// What a host knows of a source.
pub(crate) struct Host {
    index: Index,
    max_header: u64,
    /// What viewers read: the source, patched.
    pub(crate) stream: Vec<u8>,
    pub(crate) settled: u64,
    /// All marks, in order.
    pub(crate) marks: Vec<Mark>,
    has_header: bool,
    last: u64,
    last_join: Option<u64>,
    header_bytes: u64,
}

/// The streams in `streams`, with their names, which are those of their formats up to a dash or to the end.
pub(crate) const STREAMS: [(&str, &[u8]); 15] = [
    ("adts", include_bytes!("../streams/adts")),
    ("flac", include_bytes!("../streams/flac")),
    ("flv", include_bytes!("../streams/flv")),
    ("lines", include_bytes!("../streams/lines")),
    ("matroska", include_bytes!("../streams/matroska")),
    ("motion-jpeg", include_bytes!("../streams/motion-jpeg")),
    ("mp4", include_bytes!("../streams/mp4")),
    ("mpeg-audio", include_bytes!("../streams/mpeg-audio")),
    ("mpeg-ts", include_bytes!("../streams/mpeg-ts")),
    ("multipart", include_bytes!("../streams/multipart")),
    ("ogg-flac", include_bytes!("../streams/ogg-flac")),
    ("ogg-opus", include_bytes!("../streams/ogg-opus")),
    ("ogg-theora", include_bytes!("../streams/ogg-theora")),
    ("wav", include_bytes!("../streams/wav")),
    ("webm", include_bytes!("../streams/webm")),
];

/// The stream of this name.
pub(crate) fn stream(name: &str) -> &'static [u8] {
    STREAMS.iter().find(|(found, _)| *found == name).map(|(_, bytes)| *bytes).expect("it is there")
}

/// A header, its joins, and where its stream ends.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) header: Header,
    pub(crate) joins: Vec<Join>,
    pub(crate) end: Option<u64>,
}

impl Host {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            index: Index::new(limits),
            max_header: u64::from(limits.max_header.max(4_096)),
            stream: Vec::new(),
            settled: 0,
            marks: Vec::new(),
            has_header: false,
            last: 0,
            last_join: None,
            header_bytes: 0,
        }
    }

    /// A host that has passed all of a source in such pieces, the last of them over and over.
    pub(crate) fn of(source: &[u8], limits: Limits, pieces: impl IntoIterator<Item = usize>) -> Self {
        let mut host = Self::new(limits);
        let mut pieces = pieces.into_iter();
        let mut size = LARGEST_PIECE;
        let mut rest = source;
        while !rest.is_empty() {
            size = pieces.next().unwrap_or(size).clamp(1, LARGEST_PIECE);
            let (piece, more) = rest.split_at(size.min(rest.len()));
            host.pass(piece);
            rest = more;
        }
        host.finish();
        host
    }

    pub(crate) fn pass(&mut self, piece: &[u8]) {
        self.stream.extend_from_slice(piece);
        let Progress { marks, settled } = self.index.advance(piece);
        assert!(marks.len() <= 16 << 10, "{} marks in a call", marks.len());
        self.apply(marks);
        assert!(self.marks.len() <= self.stream.len() / 8 + 16, "{} marks", self.marks.len());
        assert!(settled >= self.settled, "settled falls from {} to {settled}", self.settled);
        assert!(settled <= self.passed(), "settled {settled} of {}", self.passed());
        assert!(self.passed() - settled <= self.max_header + (64 << 10), "{} are held", self.passed() - settled);
        self.settled = settled;
    }

    pub(crate) fn finish(&mut self) {
        let marks = self.index.finish();
        self.apply(marks);
        self.settled = self.passed();
    }

    /// The headers in order, each with what belongs to it.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::<Run>::new();
        for mark in &self.marks {
            match (mark, runs.last_mut()) {
                (Mark::Header(header), _) => {
                    runs.push(Run { header: header.clone(), joins: Vec::new(), end: None });
                }
                (Mark::Join(join), Some(run)) => run.joins.push(join.clone()),
                (Mark::End(at), Some(run)) => run.end = Some(*at),
                _ => {}
            }
        }
        runs
    }

    pub(crate) fn losses(&self) -> Vec<Loss> {
        self.marks.iter().filter_map(|mark| if let Mark::Lost(loss) = mark { Some(*loss) } else { None }).collect()
    }

    /// What a viewer gets who begins with a join.
    pub(crate) fn composed(&self, run: &Run, join: &Join) -> Vec<u8> {
        let end = run.end.unwrap_or(self.passed());
        [&run.header.bytes, &join.preface, &self.stream[join.offset as usize..end as usize]].concat()
    }

    fn passed(&self) -> u64 {
        self.stream.len() as u64
    }

    fn apply(&mut self, marks: Vec<Mark>) {
        for mark in &marks {
            match mark {
                Mark::Header(header) => self.header(header),
                Mark::Join(Join { offset, preface }) => {
                    assert!(self.has_header, "a join at {offset} without a header");
                    assert!(self.last_join.is_none_or(|last| last < *offset), "joins fall to {offset}");
                    assert!(preface.len() <= 2_048, "a preface of {} bytes", preface.len());
                    self.count_header(preface);
                    self.last_join = Some(*offset);
                    self.rise(*offset);
                }
                Mark::End(at) => {
                    self.has_header = false;
                    self.rise(*at);
                }
                Mark::Patch(patch) => self.patch(patch),
                Mark::Lost(_) => self.has_header = false,
            }
        }
        self.marks.extend(marks);
    }

    fn rise(&mut self, at: u64) {
        assert!(self.last <= at, "offsets fall from {} to {at}", self.last);
        assert!(at <= self.passed(), "{at} has not been passed");
        self.last = at;
    }

    fn header(&mut self, header: &Header) {
        self.has_header = true;
        assert!(header.bytes.len() as u64 <= self.max_header, "a header of {} bytes", header.bytes.len());
        self.count_header(&header.bytes);
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!((1..=32).contains(&header.format.len()) && header.format.bytes().all(is_name));
        let media_type = header.media_type.as_bytes();
        assert!((1..=256).contains(&media_type.len()) && media_type.iter().all(|byte| (b' '..=b'~').contains(byte)));
    }

    fn count_header(&mut self, bytes: &[u8]) {
        self.header_bytes += bytes.len() as u64;
        assert!(self.header_bytes <= self.passed() + (64 << 10), "{} bytes of headers", self.header_bytes);
    }

    fn patch(&mut self, patch: &Patch) {
        assert!(patch.offset >= self.settled, "a patch at {} of what is settled up to {}", patch.offset, self.settled);
        let begin = patch.offset as usize;
        assert!(!patch.bytes.is_empty());
        self.stream[begin..begin + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
}
