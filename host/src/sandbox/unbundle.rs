//! The core module in a component. Shared with the build script, which compiles it.

use wasmparser::{Parser, Payload};

/// The core module of a component that consists of one, and so of nothing else that computes: what is around it
/// only names its functions and says which types they have.
pub(crate) fn core_module(component: &[u8]) -> Result<&[u8], String> {
    let mut module = None;
    for payload in Parser::new(0).parse_all(component) {
        let Payload::ModuleSection { unchecked_range, .. } = payload.map_err(|error| error.to_string())? else {
            continue;
        };
        if module.replace(unchecked_range).is_some() {
            return Err("it has more than one core module".to_owned());
        }
    }
    module.and_then(|range| component.get(range)).ok_or_else(|| "it has no core module".to_owned())
}
