//! Processor time and memory of a process with all that it has started, as Linux counts them; nothing on other systems.

use std::collections::HashMap;
use std::time::Duration;

/// What a process and its descendants have used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Used {
    /// Processor time so far, that of descendants which have ended included.
    pub(super) cpu: Duration,
    /// Resident memory at this moment, in bytes. Pages that processes share count for each.
    pub(super) resident: u64,
}

/// Hundredths of a second: the unit of `/proc`, whatever the kernel's own.
const TICK: Duration = Duration::from_millis(10);

/// Process `root` and its descendants; `None` if the system does not report it, or there is no such process.
pub(super) fn used(root: u32) -> Option<Used> {
    let of_root = stat(&root.to_string())?;
    let mut children: HashMap<u32, Vec<(u32, Stat)>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        if let Some(name) = entry.file_name().to_str()
            && let Ok(id) = name.parse::<u32>()
            && let Some(stat) = stat(name)
        {
            children.entry(stat.parent).or_default().push((id, stat));
        }
    }
    let mut used = Used::default();
    let mut open = vec![(root, of_root)];
    while let Some((id, stat)) = open.pop() {
        used.cpu += TICK * stat.ticks;
        used.resident += stat.resident;
        open.extend(children.remove(&id).unwrap_or_default());
    }
    Some(used)
}

struct Stat {
    parent: u32,
    ticks: u32,
    resident: u64,
}

fn stat(id: &str) -> Option<Stat> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The command is in brackets and may contain blanks and brackets itself; the state follows it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok());
    // User and system time, its own and that of children which have ended and were waited for.
    let ticks = (11..15).filter_map(field).sum::<u64>();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kibibytes: u64 = resident.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0);
    Some(Stat {
        parent: u32::try_from(field(1)?).ok()?,
        ticks: u32::try_from(ticks).unwrap_or(u32::MAX),
        resident: kibibytes << 10,
    })
}

/// What the machine is, for a report.
pub(super) fn machine() -> serde_json::Value {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let memory = value(&file("/proc/meminfo"), "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    serde_json::json!({
        "processor": value(&file("/proc/cpuinfo"), "model name"),
        "threads": std::thread::available_parallelism().map(std::num::NonZero::get).ok(),
        "memory_bytes": memory.map(|kibibytes| kibibytes << 10),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_child_counts_with_its_parent() {
        let alone = used(std::process::id()).unwrap();
        assert!(alone.resident > 1 << 20);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        // The child is listed from its start on, and has memory once it runs.
        let both = used(std::process::id()).unwrap();
        let only = used(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(both.resident >= only.resident && both.cpu >= alone.cpu);
        assert_eq!(used(child.id()), None);
    }
}
