//! The numbers of the canonical ABI, held against those that the WIT's own parser computes.

use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Int, InterfaceId, Resolve, SizeAlign, Type, TypeDefKind};

use super::*;
use crate::sandbox::wire::wit;

const WIT: &str = include_str!("../../../wit/session.wit");

/// The contract, as its parser sees it.
struct Contract {
    resolve: Resolve,
    sizes: SizeAlign,
    handler: InterfaceId,
}

impl Contract {
    fn read() -> Self {
        let mut resolve = Resolve::default();
        let package = resolve.push_source("session.wit", WIT).expect("the contract can be read");
        let handler = resolve.packages[package].interfaces["handler"];
        let mut sizes = SizeAlign::default();
        sizes.fill(&resolve);
        Self { resolve, sizes, handler }
    }

    fn kind(&self, name: &str) -> (&TypeDefKind, Type) {
        let id = self.resolve.interfaces[self.handler].types[name];
        (&self.resolve.types[id].kind, Type::Id(id))
    }

    fn layout(&self, name: &str) -> Layout {
        let (_, of) = self.kind(name);
        let align = self.sizes.align(&of).align_wasm32();
        Layout { size: self.sizes.size(&of).size_wasm32(), align: u32::try_from(align).expect("it is small") }
    }

    /// The fields of a record, with where they are.
    fn fields(&self, name: &str) -> Vec<(String, usize)> {
        let (TypeDefKind::Record(record), _) = self.kind(name) else { panic!("{name} is a record") };
        let offsets = self.sizes.field_offsets(record.fields.iter().map(|field| &field.ty));
        let offsets = offsets.into_iter().map(|(offset, _)| offset.size_wasm32());
        record.fields.iter().map(|field| field.name.clone()).zip(offsets).collect()
    }

    fn cases(&self, name: &str) -> Vec<String> {
        match self.kind(name) {
            (TypeDefKind::Enum(of), _) => of.cases.iter().map(|case| case.name.clone()).collect(),
            (TypeDefKind::Variant(of), _) => of.cases.iter().map(|case| case.name.clone()).collect(),
            _ => panic!("{name} has cases"),
        }
    }

    fn parameters(&self, name: &str) -> Vec<WasmType> {
        let function = &self.resolve.interfaces[self.handler].functions[name];
        self.resolve.wasm_signature(AbiVariant::GuestExport, function).params
    }
}

fn at<'a>(fields: &[(&'a str, usize)]) -> Vec<(String, usize)> {
    fields.iter().map(|(name, offset): &(&'a str, usize)| ((*name).to_owned(), *offset)).collect()
}

#[test]
fn sizes_and_offsets_are_those_of_the_contract() {
    let contract = Contract::read();
    assert_eq!(contract.layout("name"), LIST);
    assert_eq!(contract.layout("field"), FIELD);
    assert_eq!(contract.layout("entry"), ENTRY);
    assert_eq!(contract.layout("action"), ACTION);
    let (TypeDefKind::Variant(action), _) = contract.kind("action") else { panic!("an action is a variant") };
    let payload = contract.sizes.payload_offset(Int::U8, action.cases.iter().map(|case| case.ty.as_ref()));
    assert_eq!((action.tag(), payload.size_wasm32()), (Int::U8, offset::PAYLOAD));
    assert_eq!(contract.fields("field"), at(&[("name", offset::FIELD_NAME), ("value", offset::FIELD_VALUE)]));
    assert_eq!(
        contract.fields("entry"),
        at(&[
            ("name", offset::ENTRY_NAME),
            ("folder", offset::ENTRY_FOLDER),
            ("size", offset::ENTRY_SIZE),
            ("modified", offset::ENTRY_MODIFIED),
        ])
    );
    let time = contract.sizes.payload_offset(Int::U8, [None, Some(&Type::U64)]).size_wasm32();
    assert_eq!(offset::ENTRY_MODIFIED + time, offset::ENTRY_MODIFIED_TIME);
    for (record, fields) in [
        (
            "portion",
            &[("folder", offset::PORTION_FOLDER), ("after", offset::PORTION_AFTER), ("limit", offset::PORTION_LIMIT)][..],
        ),
        ("span", &[("offset", offset::SPAN_OFFSET), ("count", offset::SPAN_COUNT)]),
        (
            "exchange",
            &[
                ("request", offset::EXCHANGE_REQUEST),
                ("status", offset::EXCHANGE_STATUS),
                ("referrer", offset::EXCHANGE_REFERRER),
                ("agent", offset::EXCHANGE_AGENT),
            ],
        ),
    ] {
        let in_action = contract.fields(record).into_iter().map(|(name, offset)| (name, offset::PAYLOAD + offset));
        assert_eq!(in_action.collect::<Vec<_>>(), at(fields), "{record}");
    }
}

#[test]
fn tags_are_those_of_the_contract() {
    let contract = Contract::read();
    assert_eq!(
        contract.cases("action"),
        ["receive", "open", "list", "send", "pass", "wait", "proceed", "report", "close"]
    );
    assert_eq!(
        contract.cases("event"),
        ["received", "finished", "opened", "listed", "available", "proceeded", "stopping"]
    );
    assert_eq!(contract.cases("phase"), ["idle", "partial"]);
    assert_eq!(contract.cases("remainder"), ["nothing", "unread"]);
    assert_eq!(contract.cases("found"), ["source", "folder"]);
    assert_eq!(contract.cases("refusal"), ["not-found", "forbidden", "unavailable", "failed"]);
    assert_eq!(contract.cases("dialect"), ["standard", "compat"]);
}

#[test]
fn parameters_are_those_of_the_contract() {
    let contract = Contract::read();
    // A pointer is 32 bits wide, and what may be one or a number of 64 bits is 64 bits wide.
    let is_long = |wide: &WasmType| match wide {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => false,
        WasmType::I64 | WasmType::PointerOrI64 => true,
        WasmType::F32 | WasmType::F64 => panic!("the contract has no floats"),
    };
    let long = |name: &str| contract.parameters(name).iter().map(is_long).collect::<Vec<_>>();
    assert_eq!(long("[constructor]session"), [false; 15]);
    let payload = [true, true, true, true, false, false, true, false, false, false, false, false];
    assert_eq!(long("[method]session.advance"), [&[false, true, false][..], &payload].concat());
}

/// What a list of actions may have is counted in the bytes of the host's own actions, in both forms.
#[test]
fn an_action_counts_the_same_in_both_forms() {
    assert_eq!(size_of::<Action>(), size_of::<wit::Action>());
}
