//! The canonical ABI for the types of `wit/session.wit`: settings and events are lowered into the memory of a core
//! module, and actions are lifted out of it.
//!
//! Rules: nothing of a guest is trusted. Every pointer, length, count and tag is checked against the size of the
//! memory, and what is to be copied against the bytes that a list may have, before the first byte is copied. What is
//! refused is refused for the same reasons, in the same order and words, as by the component runtime. The numbers
//! follow from the WIT; a test holds them against those that its parser computes.

use thiserror::Error;
use wasmtime::{Error, Result};

use crate::contract::{Action, Entry, Event, Facts, Found, Listing, Phase, Portion, Refusal, Remainder, Report};
use crate::contract::{Span, Window};
use crate::sandbox::wire::Circumstances;
use crate::settings::Settings;

/// More than a guest may have the host hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Excess {
    /// Bytes of one list of actions.
    #[error("a list of actions has more bytes than the host allocates for one")]
    Bytes,
    /// Handles.
    #[error("the guest has more handles than it may")]
    Handles,
}

/// The size and the alignment of a type in memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    size: usize,
    align: u32,
}

const BYTE: Layout = Layout { size: 1, align: 1 };
const LIST: Layout = Layout { size: 8, align: 4 };
const FIELD: Layout = Layout { size: 16, align: 4 };
const ENTRY: Layout = Layout { size: 40, align: 8 };
const ACTION: Layout = Layout { size: 40, align: 8 };

/// Where the parts of records are. A list has its address first and then its length; an option has a byte that
/// says whether there is something, and then what there is.
mod offset {
    pub(super) const LIST_LENGTH: usize = 4;
    pub(super) const FIELD_NAME: usize = 0;
    pub(super) const FIELD_VALUE: usize = 8;
    pub(super) const ENTRY_NAME: usize = 0;
    pub(super) const ENTRY_FOLDER: usize = 8;
    pub(super) const ENTRY_SIZE: usize = 16;
    pub(super) const ENTRY_MODIFIED: usize = 24;
    pub(super) const ENTRY_MODIFIED_TIME: usize = 32;
    /// Of what comes with an action, after the byte that says which action it is.
    pub(super) const PAYLOAD: usize = 8;
    pub(super) const PORTION_FOLDER: usize = PAYLOAD;
    pub(super) const PORTION_AFTER: usize = PAYLOAD + 8;
    pub(super) const PORTION_LIMIT: usize = PAYLOAD + 16;
    pub(super) const SPAN_OFFSET: usize = PAYLOAD;
    pub(super) const SPAN_COUNT: usize = PAYLOAD + 8;
    pub(super) const EXCHANGE_REQUEST: usize = PAYLOAD;
    pub(super) const EXCHANGE_STATUS: usize = PAYLOAD + 8;
    pub(super) const EXCHANGE_REFERRER: usize = PAYLOAD + 12;
    pub(super) const EXCHANGE_AGENT: usize = PAYLOAD + 20;
}

/// The memory that values are lowered into.
pub(super) trait Heap {
    /// Has the guest allocate memory. What it answers is checked: it lies within the memory, and is aligned.
    fn allocate(&mut self, size: usize, align: u32) -> Result<u32>;

    /// All of the memory.
    fn memory(&mut self) -> &mut [u8];
}

/// What a session is made with, in numbers: the parameters of the constructor.
pub(super) type LoweredSettings = (u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32);

/// An event, in numbers: which it is, and what comes with it. Of the events that come with less the rest is 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LoweredEvent {
    pub(super) tag: u32,
    pub(super) payload: [u64; 12],
}

/// Lowers what a session is made with.
pub(super) fn lower_settings(
    heap: &mut impl Heap,
    settings: &Settings,
    circumstances: &Circumstances<'_>,
) -> Result<LoweredSettings> {
    let (has_home, home) = lower_option(heap, circumstances.home)?;
    let fields = allocate_list(heap, settings.headers.len(), FIELD)?;
    for (index, (name, value)) in settings.headers.iter().enumerate() {
        let mut record = [0; FIELD.size];
        put(&mut record, offset::FIELD_NAME, lower_bytes(heap, name.as_bytes())?);
        put(&mut record, offset::FIELD_VALUE, lower_bytes(heap, value.as_bytes())?);
        write(heap, fields.address as usize + index * FIELD.size, &record)?;
    }
    let (has_cors, cors) = lower_option(heap, settings.cors.as_deref().map(str::as_bytes))?;
    Ok((
        settings.compat.into(),
        has_home.into(),
        home.address,
        home.length,
        settings.listing.into(),
        settings.pages.into(),
        fields.address,
        fields.length,
        has_cors.into(),
        cors.address,
        cors.length,
        circumstances.max_exchanges,
        settings.reports.into(),
        circumstances.secure.into(),
        circumstances.at_capacity.into(),
    ))
}

/// Lowers an event.
pub(super) fn lower_event(heap: &mut impl Heap, event: &Event<'_>) -> Result<LoweredEvent> {
    let mut payload = [0; 12];
    let tag = match event {
        Event::Received(bytes) => {
            let bytes = lower_bytes(heap, bytes)?;
            [payload[0], payload[1]] = [bytes.address.into(), bytes.length.into()];
            0
        }
        Event::Finished => 1,
        Event::Opened(opened) => {
            match opened {
                Ok(Found::Source(facts)) => payload = lower_facts(heap, facts)?,
                Ok(Found::Folder) => payload[1] = 1,
                Err(refusal) => [payload[0], payload[1]] = [1, lower_refusal(*refusal)],
            }
            2
        }
        Event::Listed(listed) => {
            match listed {
                Ok(Listing { entries, complete }) => {
                    let entries = lower_entries(heap, entries)?;
                    [payload[1], payload[2]] = [entries.address.into(), entries.length.into()];
                    payload[3] = (*complete).into();
                }
                Err(refusal) => [payload[0], payload[1]] = [1, lower_refusal(*refusal)],
            }
            3
        }
        Event::Available(Window { start, end, is_final }) => {
            [payload[0], payload[1], payload[2]] = [*start, *end, (*is_final).into()];
            4
        }
        Event::Proceeded => 5,
        Event::Stopping => 6,
    };
    Ok(LoweredEvent { tag, payload })
}

/// A source that was opened: two tags that say so, which are 0, and then its facts.
fn lower_facts(heap: &mut impl Heap, facts: &Facts<'_>) -> Result<[u64; 12]> {
    let Facts { window: Window { start, end, is_final }, modified, version, media_type } = facts;
    let version = lower_bytes(heap, version.as_bytes())?;
    let (has_type, media_type) = lower_option(heap, media_type.as_deref().map(str::as_bytes))?;
    Ok([
        0,
        0,
        *start,
        *end,
        (*is_final).into(),
        modified.is_some().into(),
        modified.unwrap_or_default(),
        version.address.into(),
        version.length.into(),
        has_type.into(),
        media_type.address.into(),
        media_type.length.into(),
    ])
}

fn lower_refusal(refusal: Refusal) -> u64 {
    match refusal {
        Refusal::NotFound => 0,
        Refusal::Forbidden => 1,
        Refusal::Unavailable => 2,
        Refusal::Failed => 3,
    }
}

fn lower_entries(heap: &mut impl Heap, entries: &[Entry]) -> Result<List> {
    let list = allocate_list(heap, entries.len(), ENTRY)?;
    for (index, Entry { name, folder, size, modified }) in entries.iter().enumerate() {
        let mut record = [0; ENTRY.size];
        put(&mut record, offset::ENTRY_NAME, lower_bytes(heap, name)?);
        record[offset::ENTRY_FOLDER] = (*folder).into();
        record[offset::ENTRY_SIZE..][..8].copy_from_slice(&size.to_le_bytes());
        record[offset::ENTRY_MODIFIED] = modified.is_some().into();
        record[offset::ENTRY_MODIFIED_TIME..][..8].copy_from_slice(&modified.unwrap_or_default().to_le_bytes());
        write(heap, list.address as usize + index * ENTRY.size, &record)?;
    }
    Ok(list)
}

/// A list or a text, in the memory of a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct List {
    address: u32,
    /// In elements.
    length: u32,
}

fn allocate_list(heap: &mut impl Heap, length: usize, element: Layout) -> Result<List> {
    let size = length.checked_mul(element.size).ok_or_else(|| Error::msg("size overflow copying a list"))?;
    let address = heap.allocate(size, element.align)?;
    Ok(List { address, length: u32::try_from(length)? })
}

fn lower_bytes(heap: &mut impl Heap, bytes: &[u8]) -> Result<List> {
    let list = allocate_list(heap, bytes.len(), BYTE)?;
    write(heap, list.address as usize, bytes)?;
    Ok(list)
}

/// Whether there is something, and what.
fn lower_option(heap: &mut impl Heap, bytes: Option<&[u8]>) -> Result<(bool, List)> {
    let list = bytes.map(|bytes| lower_bytes(heap, bytes)).transpose()?;
    Ok((list.is_some(), list.unwrap_or_default()))
}

fn put(record: &mut [u8], at: usize, list: List) {
    record[at..][..4].copy_from_slice(&list.address.to_le_bytes());
    record[at + offset::LIST_LENGTH..][..4].copy_from_slice(&list.length.to_le_bytes());
}

fn write(heap: &mut impl Heap, address: usize, bytes: &[u8]) -> Result<()> {
    // What was allocated lies within the memory, which never shrinks. Looked at again all the same.
    let place = heap.memory().get_mut(address..).and_then(|from| from.get_mut(..bytes.len()));
    place.ok_or_else(|| Error::msg(BEYOND_END))?.copy_from_slice(bytes);
    Ok(())
}

/// Checks what a guest has answered when it was asked to allocate.
pub(super) fn check_allocated(memory: &[u8], address: u32, size: usize, align: u32) -> Result<()> {
    if !address.is_multiple_of(align) {
        return Err(Error::msg("realloc return: result not aligned"));
    }
    let place = memory.get(address as usize..).and_then(|from| from.get(..size));
    place.map(drop).ok_or_else(|| Error::msg(BEYOND_END))
}

const BEYOND_END: &str = "realloc return: beyond end of memory";

/// Lifts a list of actions that a guest says is at `returned`, of at most so many bytes in the memory of the host.
pub(super) fn lift_actions(memory: &[u8], returned: u32, most_bytes: u64) -> Result<Vec<Action>> {
    if !returned.is_multiple_of(LIST.align) {
        return Err(Error::msg("return pointer not aligned"));
    }
    let list = memory.get(returned as usize..).and_then(<[u8]>::first_chunk::<{ LIST.size }>);
    let list = list_at(list.ok_or_else(|| Error::msg("pointer out of bounds of memory"))?, 0);
    let mut lift = Lift { memory, left: usize::try_from(most_bytes).unwrap_or(usize::MAX) };
    let (records, _) = lift.elements(list, ACTION, size_of::<Action>())?.as_chunks();
    let mut actions = Vec::with_capacity(records.len());
    for record in records {
        actions.push(lift.action(record)?);
    }
    Ok(actions)
}

/// What is lifted from, and how many bytes may still be copied.
struct Lift<'a> {
    memory: &'a [u8],
    left: usize,
}

impl<'a> Lift<'a> {
    fn action(&mut self, record: &[u8; ACTION.size]) -> Result<Action> {
        Ok(match record[0] {
            0 => Action::Receive(match record[offset::PAYLOAD] {
                0 => Phase::Idle,
                1 => Phase::Partial,
                tag => return Err(unexpected(tag)),
            }),
            1 => Action::Open(self.bytes(list_at(record, offset::PAYLOAD))?),
            2 => Action::List(Portion {
                folder: self.bytes(list_at(record, offset::PORTION_FOLDER))?,
                after: self.bytes(list_at(record, offset::PORTION_AFTER))?,
                limit: u32::from_le_bytes(part(record, offset::PORTION_LIMIT)),
            }),
            3 => Action::Send(self.bytes(list_at(record, offset::PAYLOAD))?),
            4 => Action::Pass(Span {
                offset: u64::from_le_bytes(part(record, offset::SPAN_OFFSET)),
                count: u64::from_le_bytes(part(record, offset::SPAN_COUNT)),
            }),
            5 => Action::Wait(u64::from_le_bytes(part(record, offset::PAYLOAD))),
            6 => Action::Proceed,
            7 => Action::Report(Report {
                request: self.text(list_at(record, offset::EXCHANGE_REQUEST))?,
                status: u16::from_le_bytes(part(record, offset::EXCHANGE_STATUS)),
                referrer: self.text(list_at(record, offset::EXCHANGE_REFERRER))?,
                agent: self.text(list_at(record, offset::EXCHANGE_AGENT))?,
            }),
            8 => Action::Close(match record[offset::PAYLOAD] {
                0 => Remainder::Nothing,
                1 => Remainder::Unread,
                tag => return Err(unexpected(tag)),
            }),
            tag => return Err(unexpected(tag)),
        })
    }

    fn bytes(&mut self, list: List) -> Result<Vec<u8>> {
        self.elements(list, BYTE, BYTE.size).map(<[u8]>::to_vec)
    }

    fn text(&mut self, list: List) -> Result<String> {
        let Some(bytes) = self.within(list, BYTE) else {
            return Err(Error::msg("string pointer/length out of bounds of memory"));
        };
        self.spend(bytes.len(), BYTE.size)?;
        Ok(str::from_utf8(bytes)?.to_owned())
    }

    /// The elements of a list, which take `cost` bytes each in the memory of the host.
    fn elements(&mut self, list: List, element: Layout, cost: usize) -> Result<&'a [u8]> {
        let Some(bytes) = self.within(list, element) else {
            return Err(Error::msg("list pointer/length out of bounds of memory"));
        };
        self.spend(list.length as usize, cost)?;
        if !list.address.is_multiple_of(element.align) {
            return Err(Error::msg("list pointer is not aligned"));
        }
        Ok(bytes)
    }

    fn within(&self, list: List, element: Layout) -> Option<&'a [u8]> {
        let size = (list.length as usize).checked_mul(element.size)?;
        self.memory.get(list.address as usize..)?.get(..size)
    }

    fn spend(&mut self, count: usize, cost: usize) -> Result<()> {
        self.left = count.checked_mul(cost).and_then(|bytes| self.left.checked_sub(bytes)).ok_or(Excess::Bytes)?;
        Ok(())
    }
}

fn list_at(record: &[u8], at: usize) -> List {
    let (address, length) = (part(record, at), part(record, at + offset::LIST_LENGTH));
    List { address: u32::from_le_bytes(address), length: u32::from_le_bytes(length) }
}

/// The bytes of a number.
fn part<const SIZE: usize>(record: &[u8], at: usize) -> [u8; SIZE] {
    *record[at..].first_chunk().expect("the offsets of a record lie within it")
}

fn unexpected(tag: u8) -> Error {
    Error::msg(format!("unexpected discriminant: {tag}"))
}

#[cfg(test)]
mod tests;
