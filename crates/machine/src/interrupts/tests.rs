use super::*;
use ringway_driver::interrupt::Purpose;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;

type Called = Arc<dyn Fn(u32) -> bool + Send + Sync>;

/// A handler that counts its calls, and is told the count.
#[derive(Clone)]
struct Test {
    calls: Arc<AtomicU32>,
    called: Called,
}

impl Test {
    fn new(called: impl Fn(u32) -> bool + Send + Sync + 'static) -> Self {
        Self {
            calls: Arc::default(),
            called: Arc::new(called),
        }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Handle for Test {
    fn handle(&self) -> bool {
        (self.called)(self.calls.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn name(&self) -> VectorName {
        VectorName {
            device: None,
            purpose: Purpose::All,
        }
    }

    fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.calls, &other.calls)
    }
}

fn controller() -> Arc<Controller<Test>> {
    Arc::new(Controller::new(2, [5]))
}

fn wires(controller: &Arc<Controller<Test>>, device: usize) -> (Wires<Test>, Arc<Counters>) {
    let counters = Arc::<Counters>::default();
    let wires = Wires::new(Arc::clone(controller), device, 5, Arc::clone(&counters));
    (wires, counters)
}

#[test]
fn a_message_sent_twice_before_it_is_delivered_is_delivered_once() {
    let controller = controller();
    let (wires, counters) = wires(&controller, 0);
    let handler = Test::new(|_| true);
    let message = controller.provide(handler.clone()).unwrap();

    wires.send(message.address, message.data);
    wires.send(message.address, message.data);

    assert_eq!(controller.deliver(0), Some(Source::Vector(0)));
    assert_eq!(controller.deliver(0), None);
    wires.send(message.address, message.data);
    assert_eq!(controller.deliver(0), Some(Source::Vector(0)));
    assert_eq!((handler.calls(), counters.interrupts()), (2, 2));
}

#[test]
fn vectors_run_out_and_come_back() {
    let controller = controller();
    let handlers = [(); 3].map(|()| Test::new(|_| true));

    let messages: Vec<_> = handlers
        .iter()
        .map(|it| controller.provide(it.clone()))
        .collect();

    assert_eq!(messages[2], None);
    assert_ne!(messages[0], messages[1]);
    controller.disconnect(&handlers[0]);
    assert_eq!(controller.provide(handlers[2].clone()), messages[0]);
}

#[test]
fn a_message_that_is_nobodys_is_lost_and_counted() {
    let controller = controller();
    let (wires, _) = wires(&controller, 0);
    let handler = Test::new(|_| true);
    let message = controller.provide(handler.clone()).unwrap();

    wires.send(message.address + MESSAGE_STRIDE, message.data);
    wires.send(message.address, message.data + 1);
    wires.send(message.address, 0);
    controller.disconnect(&handler);
    wires.send(message.address, message.data);

    assert_eq!(controller.ready(), 0);
    assert_eq!(controller.counts().lost, 4);
}

#[test]
fn a_line_is_delivered_to_all_its_handlers_while_one_device_asserts_it() {
    let controller = controller();
    let (first, first_counters) = wires(&controller, 0);
    let (second, second_counters) = wires(&controller, 1);
    let handlers = [(); 2].map(|()| Test::new(|calls| calls < 3));
    for handler in &handlers {
        assert!(controller.connect(5, handler.clone()));
    }

    first.set(true);
    second.set(true);
    controller.deliver(0).unwrap();
    first.set(false);
    controller.deliver(0).unwrap();
    controller.deliver(0).unwrap();
    second.set(false);

    assert_eq!(controller.deliver(0), None);
    assert_eq!(handlers.each_ref().map(Test::calls), [3, 3]);
    assert_eq!(first_counters.interrupts(), 1);
    assert_eq!(second_counters.interrupts(), 3);
    assert_eq!(controller.counts().unwanted, 1);
}

#[test]
fn a_line_that_is_never_let_go_of_is_shut_off_until_a_device_changes_it() {
    let controller = controller();
    let (stuck, _) = wires(&controller, 0);
    let (honest, _) = wires(&controller, 1);
    let handler = Test::new(|_| false);
    controller.connect(5, handler.clone());

    stuck.set(true);
    while controller.deliver(0).is_some() {}

    assert_eq!(handler.calls(), REDELIVERIES_MAX);
    assert_eq!(controller.counts().unwanted, u64::from(REDELIVERIES_MAX));
    honest.set(true);
    assert_eq!(controller.deliver(0), Some(Source::Line(5)));
}

#[test]
fn a_line_without_handlers_waits_for_one() {
    let controller = controller();
    let (wires, _) = wires(&controller, 0);
    let handler = Test::new(|_| true);

    wires.set(true);

    assert_eq!(controller.ready(), 0);
    assert!(!controller.connect(6, handler.clone()), "no such line");
    assert!(controller.connect(5, handler.clone()));
    assert_eq!(controller.ready(), 1);
    controller.disconnect(&handler);
    assert_eq!(controller.ready(), 0);
}

#[test]
fn a_handler_may_disconnect_itself() {
    let controller = controller();
    let (wires, _) = wires(&controller, 0);
    let itself: Arc<Mutex<Option<Test>>> = Arc::default();
    let handler = Test::new({
        let (controller, itself) = (Arc::downgrade(&controller), Arc::clone(&itself));
        move |_| {
            let handler = lock(&itself).clone().unwrap();
            controller.upgrade().unwrap().disconnect(&handler);
            true
        }
    });
    *lock(&itself) = Some(handler.clone());
    controller.connect(5, handler.clone());

    wires.set(true);
    controller.deliver(0).unwrap();

    assert_eq!(controller.deliver(0), None);
    lock(&itself).take();
}

#[test]
fn a_handler_that_is_disconnected_does_not_run_any_more() {
    let controller = controller();
    let (wires, _) = wires(&controller, 0);
    let (entered, was_entered) = channel();
    let (leave, may_leave) = channel();
    let may_leave = Mutex::new(may_leave);
    let left = Arc::new(AtomicU32::new(0));
    let handler = Test::new({
        let left = Arc::clone(&left);
        move |_| {
            entered.send(()).unwrap();
            lock(&may_leave).recv().unwrap();
            left.store(1, Ordering::SeqCst);
            true
        }
    });
    let message = controller.provide(handler.clone()).unwrap();

    thread::scope(|scope| {
        scope.spawn(|| controller.dispatch());
        wires.send(message.address, message.data);
        was_entered.recv().unwrap();
        let disconnecting = scope.spawn(|| {
            controller.disconnect(&handler);
            left.load(Ordering::SeqCst)
        });
        while lock(&controller.state).waiting == 0 {
            thread::yield_now();
        }
        leave.send(()).unwrap();

        assert_eq!(disconnecting.join().unwrap(), 1);
        controller.off();
    });
    assert_eq!(handler.calls(), 1);
}

#[test]
fn whoever_waits_is_woken_by_a_delivery_or_gives_up() {
    let controller = controller();
    let (wires, _) = wires(&controller, 0);
    let handler = Test::new(|_| true);
    let message = controller.provide(handler.clone()).unwrap();
    let long = Duration::from_secs(3600);

    thread::scope(|scope| {
        scope.spawn(|| controller.dispatch());
        let waiting = scope.spawn(|| controller.wait(long, || handler.calls() != 0));
        wires.send(message.address, message.data);

        waiting.join().unwrap();
        controller.wait(Duration::ZERO, || false);
        controller.off();
        controller.wait(long, || false);
    });
    assert_eq!(handler.calls(), 1);
    assert_eq!(controller.provide(handler), None);
}
