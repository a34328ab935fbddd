//! The interrupts of a system, as Linux tells them: a row for each, with a count for each processor,
//! and in the end the names of those who listen.
//!
//! ```text
//!            CPU0       CPU1
//!  25:        321          0  PCI-MSIX-0000:00:03.0   1-edge      virtio0-req.0
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use super::sysfs;
use crate::tree::{Interrupt, Queue};

/// Most bytes of the file: a few thousand rows on a few thousand processors.
const MOST_BYTES: u64 = 64 << 20;
/// What begins the name of the controller if the number after it is that of a vector.
const WITH_VECTORS: &str = "PCI-MSIX";
/// The names that are not of queues: configuration, and all queues in one.
const NO_QUEUES: [&str; 2] = ["config", "virtqueues"];

/// The interrupts of a system.
#[derive(Debug, Default)]
pub(super) struct Interrupts(Vec<Row>);

#[derive(Debug, PartialEq, Eq)]
struct Row {
    irq: u32,
    count: u64,
    vector: Option<u16>,
    /// The words in the end of the row. The last are names.
    words: Vec<String>,
}

impl Interrupts {
    /// Reads the file. What is not there, or is no such file, has no interrupts.
    pub(super) fn read(path: &Path) -> Self {
        let bytes = sysfs::read(path, MOST_BYTES).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let heads = lines.next().unwrap_or_default().split_whitespace();
        let processors = heads.filter(|head| head.starts_with("CPU")).count();
        Self(
            lines
                .filter_map(|line| Row::parse(line, processors))
                .collect(),
        )
    }

    /// The interrupts of a device: those of these numbers, and those that bear its name.
    pub(super) fn of(&self, device: &str, irqs: &BTreeSet<u32>) -> Vec<Interrupt> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .filter_map(|row| {
                let name = row.name(device);
                let ours = name.is_some() || irqs.contains(&row.irq);
                ours.then(|| Interrupt {
                    irq: Some(row.irq),
                    vector: row.vector,
                    name: name.or(row.words.last().map(String::as_str)).map(shown),
                    count: Some(row.count),
                })
            })
            .collect();
        let heard: BTreeSet<_> = all.iter().filter_map(|interrupt| interrupt.irq).collect();
        let silent = irqs.difference(&heard).map(|irq| Interrupt {
            irq: Some(*irq),
            ..Interrupt::default()
        });
        all.extend(silent);
        all.sort_by_key(|interrupt| interrupt.irq);
        all
    }
}

/// The queues of a device that have an interrupt of their own, by whose names they are known.
pub(super) fn queues(device: &str, interrupts: &[Interrupt]) -> Vec<Queue> {
    let queue = |interrupt: &Interrupt| {
        let whole = interrupt.name.as_deref()?;
        let name = whole.strip_prefix(device)?.strip_prefix('-')?;
        (!NO_QUEUES.contains(&name)).then(|| Queue {
            name: Some(name.to_owned()),
            vector: interrupt.vector,
            vector_name: Some(whole.to_owned()),
            ..Queue::default()
        })
    };
    interrupts.iter().filter_map(queue).collect()
}

impl Row {
    fn parse(line: &str, processors: usize) -> Option<Self> {
        let (irq, rest) = line.split_once(':')?;
        let irq = irq.trim().parse().ok()?;
        let mut words = rest.split_whitespace();
        let mut count = 0u64;
        for word in words.by_ref().take(processors) {
            count = count.saturating_add(word.parse().ok()?);
        }
        let words: Vec<_> = words
            .map(|word| word.trim_end_matches(',').to_owned())
            .collect();
        let vector = match &words[..] {
            [controller, number, ..] if controller.starts_with(WITH_VECTORS) => {
                let digits = number.split('-').next();
                digits.and_then(|digits| digits.parse().ok())
            }
            _ => None,
        };
        Some(Self {
            irq,
            count,
            vector,
            words,
        })
    }

    /// The name that is the device's, or begins with it.
    fn name(&self, device: &str) -> Option<&str> {
        let of_device = |word: &&String| {
            let rest = word.strip_prefix(device);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        self.words.iter().find(of_device).map(String::as_str)
    }
}

fn shown(name: &str) -> String {
    sysfs::printable(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "           CPU0       CPU1
   4:         10          0  IO-APIC   4-edge      ttyS0
  11:          1          2  IO-APIC  11-fasteoi   ehci_hcd:usb1, virtio2
  24:          0          0  PCI-MSIX-0000:00:03.0   0-edge      virtio1-config
  25:        300         21  PCI-MSIX-0000:00:03.0   1-edge      virtio1-req.0
  26:          1          0  PCI-MSI 49153-edge      virtio10-config
  27:          5          0  PCI-MSIX-0000:00:05.0   0-edge      vfio-msix
 NMI:          0          0  Non-maskable interrupts
 ERR:          0
";

    fn of(device: &str, irqs: &[u32]) -> Vec<Interrupt> {
        Interrupts::parse(FILE).of(device, &irqs.iter().copied().collect())
    }

    fn interrupt(irq: u32, vector: Option<u16>, name: &str, count: u64) -> Interrupt {
        Interrupt {
            irq: Some(irq),
            vector,
            name: Some(name.to_owned()),
            count: Some(count),
        }
    }

    #[test]
    fn a_device_has_the_interrupts_that_bear_its_name_and_no_others() {
        let all = of("virtio1", &[24, 25]);

        let expected = [
            interrupt(24, Some(0), "virtio1-config", 0),
            interrupt(25, Some(1), "virtio1-req.0", 321),
        ];
        assert_eq!(all, expected);
        assert_eq!(
            of("virtio10", &[]),
            [interrupt(26, None, "virtio10-config", 1)]
        );
    }

    #[test]
    fn a_line_may_be_shared() {
        assert_eq!(of("virtio2", &[11]), [interrupt(11, None, "virtio2", 3)]);
    }

    #[test]
    fn interrupts_of_a_number_are_a_device_s_whoever_listens() {
        let all = of("virtio3", &[27, 28]);

        let silent = Interrupt {
            irq: Some(28),
            ..Interrupt::default()
        };
        assert_eq!(all, [interrupt(27, Some(0), "vfio-msix", 5), silent]);
    }

    #[test]
    fn queues_are_known_by_interrupts_of_their_own() {
        let queue = Queue {
            name: Some("req.0".to_owned()),
            vector: Some(1),
            vector_name: Some("virtio1-req.0".to_owned()),
            ..Queue::default()
        };

        assert_eq!(queues("virtio1", &of("virtio1", &[])), [queue]);
        assert!(queues("virtio2", &of("virtio2", &[])).is_empty());
    }

    #[test]
    fn what_is_no_such_file_has_no_interrupts() {
        for text in ["", "\n\n::", "CPU0\n 1: x y", "CPU0\n99999999999: 1 a b"] {
            assert!(Interrupts::parse(text).0.is_empty(), "{text}");
        }
        let most = Interrupts::parse(&format!("CPU0 CPU1\n 1: {0} {0} a b", u64::MAX));
        assert_eq!(most.0[0].count, u64::MAX);
    }
}
