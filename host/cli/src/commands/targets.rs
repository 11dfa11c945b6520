//! The file of `--targets`: a table of TOML for each server.

use std::path::Path;

use multiclient_isolate::{Target, Triggers};
use toml::{Table, Value};

use crate::failure::Failure;
use crate::values::trigger;

/// Reads the servers of a file, in its order.
pub(super) fn read(path: &Path) -> Result<Vec<Target>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::unreadable(path, &error))?;
    parse(&text).map_err(|why| {
        let what = format!("{}: {}", path.display(), why.trim_end());
        Failure::new(what).next("write a table for each server, such as `[nginx]` and `start = \"nginx ...\"`")
    })
}

fn parse(text: &str) -> Result<Vec<Target>, String> {
    let file: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let targets: Vec<_> = file.into_iter().map(|(name, value)| target(name, value)).collect::<Result<_, _>>()?;
    if targets.is_empty() { Err("there is no server in it".to_owned()) } else { Ok(targets) }
}

fn target(name: String, value: Value) -> Result<Target, String> {
    let Value::Table(fields) = value else { return Err(format!("{name}: not a table")) };
    let mut target = Target { name, ..Target::default() };
    for (key, value) in fields {
        let wrong = |why: &str| format!("[{}] {key}: {why}", target.name);
        if key == "pid" {
            let pid = value.as_integer().and_then(|pid| u32::try_from(pid).ok());
            target.pid = Some(pid.ok_or_else(|| wrong("not the number of a process"))?);
            continue;
        }
        let text = value.as_str().ok_or_else(|| wrong("not a text"))?.to_owned();
        let request = || trigger(&text).map_err(|why| wrong(&why));
        let Triggers { crash, hang, leak_memory, peek } = &mut target.triggers;
        match key.as_str() {
            "crash" => *crash = Some(request()?),
            "hang" => *hang = Some(request()?),
            "leak-memory" => *leak_memory = Some(request()?),
            "peek" => *peek = Some(request()?),
            "start" => target.start = Some(text),
            "url" => target.url = text,
            "cgroup" => target.cgroup = Some(text.into()),
            _ => return Err(wrong("there is no such setting")),
        }
    }
    match (&target.start, target.url.is_empty()) {
        (None, true) => Err(format!("[{}] needs `start` or `url`", target.name)),
        _ => Ok(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_in_their_order() {
        let file = "[b]\nstart = 'b {port}'\ncrash = 'GET /boom'\n[a]\nurl = 'http://127.0.0.1/x'\npid = 7\n";
        let targets = parse(file).expect("it is right");
        let names: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(targets[0].triggers.crash.as_deref(), Some("GET /boom"));
        assert_eq!((targets[1].start.as_ref(), targets[1].pid), (None, Some(7)));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for (file, why) in [
            ("", "no server"),
            ("a = 1", "not a table"),
            ("[a]", "needs `start` or `url`"),
            ("[a]\nstart = 1", "not a text"),
            ("[a]\nstrat = 'x'", "no such setting"),
            ("[a]\nurl = 'x'\npid = -1", "not the number"),
            ("[a]\nurl = 'x'\ncrash = 'boom'", "a method and a target"),
        ] {
            let said = parse(file).expect_err(file);
            assert!(said.contains(why), "{file}: {said}");
        }
    }
}
