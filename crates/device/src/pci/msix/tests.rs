use super::*;
use crate::testing::Wires;
use alloc::sync::Weak;
use alloc::vec;
use alloc::vec::Vec;

const OPEN: Command = Command::BUS_MASTER;

/// Three vectors and two queues, with queue 0 on vector 1 and configuration on vector 2, both
/// unmasked.
fn vectors() -> (Arc<Wires>, Vectors) {
    let wires = Arc::new(Wires::default());
    let vectors = Vectors::new(3, 2, wires.clone(), wires.clone());
    vectors.control(OPEN, CONTROL_ENABLE);
    vectors.set_queue_vector(0, 1);
    vectors.set_config_vector(2);
    for vector in 1..3 {
        set_entry(&vectors, vector, 0);
    }
    (wires, vectors)
}

/// Has vector `n` write `n`, to an address that is its own.
fn set_entry(vectors: &Vectors, n: u32, control: u32) {
    let words = [0xfee0_0000 + 16 * n, 1, n, control];
    for (at, word) in words.iter().enumerate() {
        vectors.write_table(16 * n as usize + 4 * at, &word.to_le_bytes());
    }
}

fn message(n: u32) -> (u64, u32) {
    (0x1_fee0_0000 + 16 * u64::from(n), n)
}

fn pending(vectors: &Vectors) -> u32 {
    let mut bytes = [0; 4];
    vectors.read_pending(0, &mut bytes);
    u32::from_le_bytes(bytes)
}

#[test]
fn each_event_sends_the_message_of_its_vector() {
    let (wires, vectors) = vectors();

    vectors.used(0);
    vectors.config_changed();

    assert_eq!(wires.messages(), [message(1), message(2)]);
    assert!(!wires.asserted());
}

/// §4.1.5.3.1.
///
/// Clauses: dev:pci/op/used-buffer-notif:1
#[test]
fn a_queue_without_a_vector_does_not_interrupt() {
    let (wires, vectors) = vectors();

    vectors.used(1);

    assert_eq!(vectors.queue_vector(1), NO_VECTOR);
    assert_eq!(wires.messages(), []);
    assert!(!wires.asserted());
}

/// §4.1.5.1.2.1.
///
/// Clauses: dev:pci/op/init/msi-x-vector-cfg:9
#[test]
fn a_vector_that_does_not_exist_is_refused_by_reading_back_as_none() {
    let (_wires, vectors) = vectors();

    for vector in [3, 0x7ff, 0x800, NO_VECTOR] {
        vectors.set_config_vector(vector);
        vectors.set_queue_vector(0, vector);
        vectors.set_queue_vector(2, 0);

        assert_eq!(vectors.config_vector(), NO_VECTOR);
        assert_eq!(vectors.queue_vector(0), NO_VECTOR);
        assert_eq!(vectors.queue_vector(2), NO_VECTOR);
    }
}

/// Clauses: dev:pci:1
#[test]
fn a_masked_vector_is_pending_and_sends_once_when_it_is_unmasked() {
    let (wires, vectors) = vectors();
    set_entry(&vectors, 1, VECTOR_MASKED);

    vectors.used(0);
    vectors.used(0);
    let masked = (wires.messages(), pending(&vectors));
    set_entry(&vectors, 1, 0);

    assert_eq!(masked, (Vec::new(), 1 << 1));
    assert_eq!((wires.messages(), pending(&vectors)), (vec![message(1)], 0));
}

#[test]
fn a_masked_function_keeps_every_vector_pending() {
    let (wires, vectors) = vectors();

    vectors.control(OPEN, CONTROL_ENABLE | CONTROL_FUNCTION_MASK);
    vectors.settle();
    vectors.used(0);
    vectors.config_changed();
    let masked = (wires.messages(), pending(&vectors));
    vectors.control(OPEN, CONTROL_ENABLE);
    vectors.settle();

    assert_eq!(masked, (Vec::new(), 0b110));
    assert_eq!(wires.messages(), [message(1), message(2)]);
}

#[test]
fn a_function_that_may_not_reach_memory_sends_nothing_until_it_may() {
    let (wires, vectors) = vectors();

    vectors.control(Command::empty(), CONTROL_ENABLE);
    vectors.used(0);
    let before = wires.messages();
    vectors.control(OPEN, CONTROL_ENABLE);
    vectors.settle();

    assert_eq!((before, wires.messages()), (Vec::new(), vec![message(1)]));
}

#[test]
fn without_messages_the_pin_is_asserted_until_its_causes_are_taken() {
    let (wires, vectors) = vectors();
    vectors.control(OPEN, 0);
    vectors.settle();

    vectors.used(0);
    vectors.config_changed();
    let asserted = (wires.asserted(), vectors.wants_pin());
    let causes = vectors.pin().take();

    assert_eq!(asserted, (true, true));
    assert_eq!(causes, InterruptStatus::all());
    assert!(!wires.asserted() && !vectors.wants_pin());
    assert_eq!(wires.messages(), []);
}

/// Clauses: dev:pci:1
#[test]
fn a_disabled_pin_is_not_asserted_but_still_wanted() {
    let (wires, vectors) = vectors();
    vectors.control(OPEN | Command::INTX_DISABLE, 0);
    vectors.settle();

    vectors.used(0);
    let disabled = (wires.asserted(), vectors.wants_pin());
    vectors.control(OPEN, 0);
    vectors.settle();

    assert_eq!(disabled, (false, true));
    assert!(wires.asserted());
}

#[test]
fn enabling_messages_takes_the_pin_back() {
    let (wires, vectors) = vectors();
    vectors.control(OPEN, 0);
    vectors.settle();
    vectors.used(0);

    vectors.control(OPEN, CONTROL_ENABLE);
    vectors.settle();

    assert!(!wires.asserted() && !vectors.wants_pin());
}

/// Clauses: dev:pci/op/init/msi-x-vector-cfg:7
#[test]
fn a_reset_unmaps_every_event_and_forgets_what_is_pending() {
    let (wires, vectors) = vectors();
    set_entry(&vectors, 1, VECTOR_MASKED);
    vectors.used(0);

    vectors.reset();
    set_entry(&vectors, 1, 0);
    vectors.used(0);

    assert_eq!(wires.messages(), []);
    assert_eq!(vectors.config_vector(), NO_VECTOR);
}

#[test]
fn the_table_answers_aligned_accesses_of_32_and_64_bits_only() {
    let (_wires, vectors) = vectors();
    let read = |offset, len| {
        let mut bytes = [0; 16];
        vectors.read_table(offset, &mut bytes[..len]);
        bytes
    };

    let whole = read(16, 8);
    for (offset, len) in [(16, 1), (16, 2), (18, 4), (20, 8), (16, 16), (48, 4)] {
        assert_eq!(read(offset, len), [0; 16], "{offset}+{len}");
    }
    vectors.write_table(24, &[9; 1]);
    vectors.write_table(26, &[9; 4]);
    vectors.write_table(16, &[9; 16]);
    vectors.write_table(48, &[9; 4]);

    assert_eq!(whole[..8], [0x10, 0, 0xe0, 0xfe, 1, 0, 0, 0]);
    assert_eq!(read(16, 8), whole);
    assert_eq!(read(24, 8)[..8], [1, 0, 0, 0, 0, 0, 0, 0]);
}

/// Clauses: dev:pci:1
#[test]
fn bits_that_mean_nothing_stay_0_and_a_vector_is_masked_from_the_start() {
    let (_wires, vectors) = vectors();
    let mut control = [0; 4];
    vectors.read_table(12, &mut control);

    vectors.write_table(0, &[0xff; 8]);
    vectors.write_table(8, &[0xff; 8]);

    let mut entry = [0; 16];
    let (low, high) = entry.split_at_mut(8);
    vectors.read_table(0, low);
    vectors.read_table(8, high);
    assert_eq!(control, [1, 0, 0, 0]);
    assert_eq!(
        entry,
        [
            0xfc, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0
        ]
    );
}

#[test]
fn pending_bits_are_read_by_words_wherever_they_are() {
    let wires = Arc::new(Wires::default());
    let vectors = Vectors::new(130, 1, wires.clone(), wires);
    vectors.control(OPEN, CONTROL_ENABLE);
    vectors.set_queue_vector(0, 129);
    vectors.used(0);
    let read = |offset, len| {
        let mut bytes = [0; 8];
        vectors.read_pending(offset, &mut bytes[..len]);
        u64::from_le_bytes(bytes)
    };

    assert_eq!(
        [read(0, 8), read(8, 8), read(16, 8), read(24, 8)],
        [0, 0, 2, 0]
    );
    assert_eq!(
        [read(16, 4), read(20, 4), read(16, 1), read(17, 4)],
        [2, 0, 0, 0]
    );
}

#[test]
fn a_function_without_vectors_has_only_its_pin() {
    let wires = Arc::new(Wires::default());
    let vectors = Vectors::new(0, 1, wires.clone(), wires.clone());

    vectors.set_queue_vector(0, 0);
    vectors.used(0);

    assert_eq!(vectors.queue_vector(0), NO_VECTOR);
    assert!(wires.asserted());
}

/// Clauses: dev:pci/op/init/msi-x-vector-cfg:4, dev:pci/op/init/msi-x-vector-cfg:6
#[test]
fn any_event_can_be_mapped_to_any_vector() {
    let (wires, vectors) = vectors();
    set_entry(&vectors, 0, 0);

    for n in 0..3 {
        vectors.set_config_vector(n);
        vectors.config_changed();
        assert_eq!(vectors.config_vector(), n);
        for index in 0..2 {
            vectors.set_queue_vector(index, n);
            vectors.used(index);
            assert_eq!(vectors.queue_vector(index), n);
        }

        assert_eq!(wires.messages(), [message(n.into()); 3]);
    }
}

/// Clauses: dev:pci/op/init/msi-x-vector-cfg:5, dev:pci/op/used-buffer-notif:1,
/// dev:pci/op/notif-of-device-cfg-changes:1
#[test]
fn any_event_can_be_unmapped_and_interrupts_no_more() {
    let (wires, vectors) = vectors();
    vectors.set_queue_vector(1, 2);

    vectors.set_config_vector(NO_VECTOR);
    vectors.set_queue_vector(0, NO_VECTOR);
    vectors.set_queue_vector(1, NO_VECTOR);
    vectors.config_changed();
    vectors.used(0);
    vectors.used(1);

    let mapped = [
        vectors.config_vector(),
        vectors.queue_vector(0),
        vectors.queue_vector(1),
    ];
    assert_eq!(mapped, [NO_VECTOR; 3]);
    assert_eq!((wires.messages(), pending(&vectors)), (vec![], 0));
    assert!(!wires.asserted() && !vectors.wants_pin());
}

/// A masked vector has still to send what happened before; if the event is unmapped meanwhile, it
/// must not (§4.1.5.3.1, §4.1.5.4.1). Others on the same vector want it nevertheless.
///
/// Clauses: dev:pci/op/used-buffer-notif:1, dev:pci/op/notif-of-device-cfg-changes:1
#[test]
fn what_waits_for_an_event_that_is_unmapped_is_not_sent() {
    for shared in [false, true] {
        let (wires, vectors) = vectors();
        set_entry(&vectors, 1, VECTOR_MASKED);
        set_entry(&vectors, 2, VECTOR_MASKED);
        if shared {
            vectors.set_queue_vector(1, 1);
        }

        vectors.used(0);
        vectors.config_changed();
        vectors.set_queue_vector(0, NO_VECTOR);
        vectors.set_config_vector(NO_VECTOR);
        set_entry(&vectors, 1, 0);
        set_entry(&vectors, 2, 0);

        let sent = if shared { vec![message(1)] } else { vec![] };
        assert_eq!(wires.messages(), sent);
    }
}

/// On another thread, a worker goes on to use buffers. What it had sent before counts for nothing.
#[test]
fn an_event_that_was_unmapped_sends_nothing_from_then_on() {
    let (wires, vectors) = vectors();
    let ended = AtomicBool::new(false);

    let late = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                vectors.used(0);
            }
        });
        let late = (0..500).map(|_| {
            vectors.set_queue_vector(0, NO_VECTOR);
            wires.messages();
            std::thread::yield_now();
            let late = wires.messages().len();
            vectors.set_queue_vector(0, 1);
            late
        });
        let late = late.sum::<usize>();
        ended.store(true, Ordering::SeqCst);
        late
    });

    assert_eq!(late, 0);
}

/// Looks at the causes when it gets a message, as a driver may.
#[derive(Default)]
struct Looks {
    vectors: Mutex<Weak<Vectors>>,
    seen: Mutex<Vec<InterruptStatus>>,
}

impl MessageSink for Looks {
    fn send(&self, _address: u64, _data: u32) {
        let vectors = self.vectors.lock().upgrade();
        let causes = vectors.map(|vectors| vectors.pin().causes());
        self.seen.lock().extend(causes);
    }
}

/// §4.1.4.5.1: the ISR status has the bit of configuration before the message goes out.
///
/// Clauses: dev:pci/pci-device-layout/isr-status-capability:2
#[test]
fn the_cause_is_there_before_the_message_of_a_change_is_sent() {
    let looks = Arc::new(Looks::default());
    let vectors = Vectors::new(3, 2, looks.clone(), Arc::new(Wires::default()));
    let vectors = Arc::new(vectors);
    *looks.vectors.lock() = Arc::downgrade(&vectors);
    vectors.control(OPEN, CONTROL_ENABLE);
    vectors.set_config_vector(0);
    set_entry(&vectors, 0, 0);

    vectors.config_changed();

    assert_eq!(*looks.seen.lock(), [InterruptStatus::CONFIG_CHANGE]);
}
