//! A function with virtual ones over real registers: they come, are driven beside it, and go, in
//! good order or under load.
#![cfg(test)]

use core::task::Poll;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, mpsc};

use ringway_device::admin::{Administration, Command, Failure, Group};
use ringway_device::blk::{Blk as BlkDevice, RamDisk};
use ringway_device::entropy::{Entropy, Source};
use ringway_device::pci::VirtualFunctionsError as NotVirtual;
use ringway_device::{Device, Offer};
use ringway_driver::admin::Request;
use ringway_driver::blk::Blk;
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::bus::{AnyTransport, Bus, Id, Name, Parting, Sink, attach};
use ringway_driver::dma::{DmaBuffer, QueueOptions};
use ringway_driver::entropy::Rng;
use ringway_driver::error::{AdminError, Error, VirtualFunctionsError};
use ringway_driver::pci::{self, Address, Apertures, ConfigAccess, Pci, VirtualFunctions};
use ringway_driver::platform::{Leak, Trust};
use ringway_machine::{
    Builder, Error as Unbuilt, Firmware, Machine, Options, Place, Platform, Run,
};
use ringway_spec::admin::{GroupType, Opcodes, Qualifier};
use ringway_spec::{DeviceId, F, Features};

const LIMIT: Duration = Duration::from_secs(30);
const VIRTUALS: u16 = 4;
const SECTORS: usize = 64;
const INLINE: Run = Run::Inline { seed: 3 };

/// Gives the same byte always.
struct Same(u8);

impl Source for Same {
    fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
        into.fill(self.0);
        Ok(())
    }
}

fn disk() -> Box<dyn Device> {
    Box::new(BlkDevice::new(Arc::new(RamDisk::new(SECTORS)), 1))
}

fn entropy() -> Box<dyn Device> {
    Box::new(Entropy::new(Same(0)))
}

fn disks(count: u16) -> Vec<Box<dyn Device>> {
    (0..count).map(|_| disk()).collect()
}

/// Sources of entropy, which give 1, 2 and so on.
fn sources(count: u16) -> Vec<Box<dyn Device>> {
    let source = |number| Box::new(Entropy::new(Same(number as u8))) as Box<dyn Device>;
    (1..=count).map(source).collect()
}

fn offering(ring: Features) -> Options {
    Options {
        offer: Offer::default().with(ring),
        ..Options::default()
    }
}

fn owner_of(virtuals: Vec<Box<dyn Device>>, ring: Features) -> Builder {
    Machine::builder().pci_physical("disk", disk(), virtuals, offering(ring))
}

type Disk = Blk<Pci<Platform>, DmaBuffer>;

/// The first disk, brought up, and the virtual functions that it can have.
fn owner(platform: &Platform) -> (Disk, VirtualFunctions<Platform>) {
    let mut transport = pci::devices(platform).next().unwrap().unwrap();
    let virtuals = transport.virtual_functions().unwrap().unwrap();
    (attach(transport).unwrap(), virtuals)
}

fn buffer(platform: &Platform, byte: u8) -> DmaBuffer {
    let mut buffer = DmaBuffer::new(platform, 512).unwrap();
    buffer.write(0, &[byte; 512]).unwrap();
    buffer
}

/// Writes to every sector of each disk, many at a time and the disks in turn, and reads it back.
fn exercise(platform: &Platform, disks: &mut [Disk]) {
    let byte = |disk: usize, sector: u64| (disk as u8).wrapping_mul(64) ^ sector as u8;
    for sector in 0..SECTORS as u64 {
        for (index, disk) in disks.iter_mut().enumerate() {
            let block = buffer(platform, byte(index, sector));
            disk.write(sector, block).unwrap();
        }
        if sector % 8 == 7 {
            for disk in &mut *disks {
                for _ in 0..8 {
                    assert_eq!(disk.wait(LIMIT).unwrap().result, Ok(()));
                }
            }
        }
    }
    for (index, disk) in disks.iter_mut().enumerate() {
        for sector in 0..SECTORS as u64 {
            disk.read(sector, buffer(platform, 0)).unwrap();
            let block = disk.wait(LIMIT).unwrap().buffer.unwrap();
            let mut bytes = [0; 512];
            block.read(0, &mut bytes).unwrap();
            assert_eq!(bytes, [byte(index, sector); 512], "{index}, {sector}");
        }
    }
}

#[test]
fn disks_of_virtual_functions_are_driven_together_with_that_of_the_physical_one() {
    for ring in [Features::NONE, F::RING_PACKED, F::RING_PACKED | F::IN_ORDER] {
        for run in [INLINE, Run::Threaded] {
            for trust in [Trust::Pool, Trust::Revoked] {
                let machine = owner_of(disks(VIRTUALS), ring).run(run).trust(trust);
                let machine = machine.build().unwrap();
                let platform = machine.platform();
                let (first, mut virtuals) = owner(&platform);

                let found = virtuals.enable(VIRTUALS).unwrap();
                let opened = found.iter().map(|found| found.open(&platform).unwrap());
                let mut all = vec![first];
                all.extend(opened.map(|transport| attach(transport).unwrap()));
                exercise(&platform, &mut all);

                assert_eq!(virtuals.count(), VIRTUALS);
                for number in 1..=VIRTUALS {
                    let device = machine.device(&format!("disk.{number}")).unwrap();
                    assert!(device.kicks() > 0, "{number}");
                    // On threads all may be done before anybody waits.
                    assert!(run == Run::Threaded || device.interrupts() > 0, "{number}");
                }
            }
        }
    }
}

#[test]
fn virtual_functions_are_of_another_type_than_the_physical_one_if_they_like() {
    for firmware in [Firmware::PlacesBars, Firmware::LeavesBars, Firmware::Absent] {
        for bridges in 0..2 {
            let mut builder = Machine::builder().run(INLINE).firmware(firmware);
            for _ in 0..bridges {
                builder = builder.bridge();
            }
            let machine = builder
                .pci_physical("disk", disk(), sources(12), Options::default())
                .pci("beside", disk(), Options::default())
                .build()
                .unwrap();
            let platform = machine.platform();
            let apertures = Apertures {
                memory: 0x4000_0000..0x8000_0000,
                high: 0x80_0000_0000..0x100_0000_0000,
                ports: 0x1000..0x1_0000,
            };

            let placed = pci::place(&platform, &apertures);
            let scanned = pci::devices(&platform).count();
            let (_disk, mut virtuals) = owner(&platform);
            let found = virtuals.enable(12).unwrap();
            let drawn = found.iter().map(|found| {
                let mut rng: Rng<_> = attach(found.open(&platform).unwrap()).unwrap();
                rng.request(vec![0; 3].into()).unwrap();
                (
                    found.number(),
                    *rng.wait(LIMIT).unwrap().buffer == [found.number() as u8; 3],
                )
            });
            let drawn: Vec<_> = drawn.collect();

            assert_eq!(placed.without_room, 0, "{firmware:?}");
            assert_eq!(scanned, 2, "no scan finds what is virtual");
            assert_eq!(
                drawn,
                (1..=12).map(|number| (number, true)).collect::<Vec<_>>()
            );
            let first = virtuals.address().routing_id();
            for (distance, found) in (1..).zip(&found) {
                let at = Address::from_routing_id(first + distance);
                let name = format!("disk.{distance}");
                assert_eq!(found.address(), at);
                assert_eq!(machine.device(&name).unwrap().place(), Place::Pci(at));
                assert_eq!(found.function().device_id(), Some(DeviceId::ENTROPY));
            }
            let beside = machine.device("beside").unwrap().place();
            let Place::Pci(beside) = beside else {
                panic!("it is on PCI");
            };
            assert!(beside.routing_id() > first + 12);
        }
    }
}

/// Before, none is there; and what was agreed on once outlives a reset.
///
/// Clauses: drv:reserved-feature-bits:10
#[test]
fn virtual_functions_are_not_enabled_before_the_device_has_agreed_to_it() {
    let machine = owner_of(sources(2), Features::NONE).run(INLINE);
    let machine = machine.build().unwrap();
    let platform = machine.platform();
    let mut transport = pci::devices(&platform).next().unwrap().unwrap();
    let mut virtuals = transport.virtual_functions().unwrap().unwrap();
    let again = transport.virtual_functions().unwrap().is_none();
    let not_agreed = Some(VirtualFunctionsError::NotAgreed.into());

    let before = virtuals.enable(1).err();
    let first = platform.read32(
        Address::from_routing_id(virtuals.address().routing_id() + 1),
        8,
    );
    let disk: Disk = attach(transport).unwrap();
    let agreed = virtuals.enable(1).map(|found| found.len());
    let (transport, _) = disk.reset();
    virtuals.disable().unwrap();
    let after_reset = virtuals.enable(2).map(|found| found.len());

    assert!(again, "there is one handle");
    assert_eq!((before, first), (not_agreed, u32::MAX));
    assert_eq!((agreed, after_reset), (Ok(1), Ok(2)));
    assert!(transport.is_ok());
}

/// A device that is driven without them is driven nevertheless; and one without the capability has
/// none.
#[test]
fn a_driver_that_does_not_agree_gets_no_virtual_functions() {
    let machine = owner_of(sources(1), Features::NONE).run(INLINE);
    let machine = machine
        .pci("plain", disk(), Options::default())
        .build()
        .unwrap();
    let platform = machine.platform();
    let mut found = pci::devices(&platform).map(|found| found.unwrap());
    let mut transport = found.next().unwrap();
    let mut plain = found.next().unwrap();
    let mut virtuals = transport.virtual_functions().unwrap().unwrap();
    let without = Wanted {
        without: F::SR_IOV,
        ..Wanted::default()
    };
    let probed = Acknowledged::new(transport).unwrap().driver().unwrap();

    let negotiated = probed.negotiate(&without).unwrap();
    let refused = virtuals.enable(1).err();

    assert!(!negotiated.features().contains(F::SR_IOV));
    assert_eq!(refused, Some(VirtualFunctionsError::NotAgreed.into()));
    assert!(plain.virtual_functions().unwrap().is_none());
}

#[test]
fn what_cannot_be_had_of_virtual_functions_is_told_and_changes_nothing() {
    let machine = owner_of(sources(3), Features::NONE)
        .run(INLINE)
        .firmware(Firmware::LeavesBars);
    let machine = machine.build().unwrap();
    let platform = machine.platform();
    let apertures = Apertures {
        // As much as the disk itself needs.
        memory: 0x4000_0000..0x4000_8000,
        ..Apertures::default()
    };
    let most = 3;

    let placed = pci::place(&platform, &apertures);
    let (_disk, mut virtuals) = owner(&platform);
    let none = virtuals.enable(0).err();
    let many = virtuals.enable(4).err();
    let unplaced = virtuals.enable(3).err();
    let before = virtuals.count();
    let rest = Apertures {
        memory: 0x4000_8000..0x5000_0000,
        ..Apertures::default()
    };
    let rest = pci::place(&platform, &rest);
    let enabled = virtuals.enable(2).map(|found| found.len());
    let twice = virtuals.enable(1).err();

    let count = |count| Some(Error::from(VirtualFunctionsError::Count { count, most }));
    assert_eq!((placed.placed, placed.without_room), (2, 2));
    assert_eq!((none, many), (count(0), count(4)));
    assert_eq!(unplaced, Some(VirtualFunctionsError::NoAddress(1).into()));
    assert_eq!((before, rest.placed), (0, 2));
    assert_eq!(enabled, Ok(2));
    assert_eq!(twice, Some(VirtualFunctionsError::Enabled(2).into()));
    assert_eq!((virtuals.count(), virtuals.most()), (2, most));
}

#[test]
fn what_cannot_be_a_function_with_virtual_ones_is_not_built() {
    let built = |virtuals| owner_of(virtuals, Features::NONE).build().err();
    let two = vec![disk(), entropy()];

    let types = NotVirtual::Types(DeviceId::BLOCK, DeviceId::ENTROPY);
    assert_eq!(built(two), Some(Unbuilt::VirtualFunctions(types)));
    assert_eq!(
        built(Vec::new()),
        Some(Unbuilt::VirtualFunctions(NotVirtual::Count(0)))
    );
    let limit = Unbuilt::TooManyDevices { limit: 31 };
    assert_eq!(built(sources(248)), Some(limit));
    assert_eq!(built(sources(247)), None);
    let same = owner_of(disks(2), Features::NONE).pci("disk.2", disk(), Options::default());
    assert_eq!(
        same.build().err(),
        Some(Unbuilt::SameName("disk.2".to_owned()))
    );
}

#[test]
fn virtual_functions_are_pulled_out_with_the_physical_one() {
    let mut machine = owner_of(sources(9), Features::NONE)
        .run(INLINE)
        .build()
        .unwrap();
    let platform = machine.platform();
    let (disk, mut virtuals) = owner(&platform);
    let found = virtuals.enable(9).unwrap();
    let last = found.last().unwrap().address();

    let before = platform.read32(last, 8);
    let alone = machine.unplug("disk.3");
    let place = machine.unplug("disk");
    let after = platform.read32(last, 8);
    drop(disk);

    assert_eq!(before, 0xff00_0001);
    assert_eq!((alone, after), (None, u32::MAX));
    assert_eq!(place, Some(Place::Pci(virtuals.address())));
    assert!(machine.devices().is_empty());
    assert_eq!(virtuals.count(), 0);
}

/// Over an administration queue: there is the group while there are virtual functions, and it has
/// their numbers for members.
#[test]
fn virtual_functions_are_a_group_that_their_driver_finds() {
    let options = Options {
        administration: Administration::new(1).with(Arc::new(Nods)),
        ..Options::default()
    };
    let machine = Machine::builder()
        .run(INLINE)
        .pci_physical("source", entropy(), sources(3), options)
        .build()
        .unwrap();
    let platform = machine.platform();
    let mut transport = pci::devices(&platform).next().unwrap().unwrap();
    let mut virtuals = transport.virtual_functions().unwrap().unwrap();
    let wanted = Wanted {
        administration: 1,
        ..Wanted::default()
    };
    let probed = Acknowledged::new(transport).unwrap().driver().unwrap();
    let mut rng: Rng<_> = Rng::open(probed, &wanted, &QueueOptions::default()).unwrap();
    let mut admin = rng.device().take_admin().unwrap();
    let group = GroupType::SR_IOV;
    let why = |failed: Option<Error>| match failed {
        Some(Error::Admin(AdminError::Failed(failure))) => Some(failure.qualifier),
        None => None,
        other => panic!("{other:?}"),
    };

    let before = why(admin.list(group).err());
    let found = virtuals.enable(2).unwrap();
    admin.begin(group, Opcodes::PARTS).unwrap();
    let member = virtuals.member(found[1].number()).unwrap();
    let outcomes = [0, member.id(), 3].map(|to| {
        let outcome = admin.call(&Request::mode(group, to, 1));
        why(outcome.err())
    });
    drop(member);
    virtuals.disable().unwrap();
    let after = why(admin.call(&Request::mode(group, 1, 1)).err());

    let no_group = Some(Qualifier::INVALID_GROUP);
    let no_member = Some(Qualifier::INVALID_MEMBER);
    assert_eq!((before, after), (no_group, no_group));
    assert_eq!(outcomes, [no_member, None, no_member]);
}

/// Carries out commands, for whatever member.
struct Nods;

impl Group for Nods {
    fn group_type(&self) -> GroupType {
        GroupType::SR_IOV
    }

    fn commands(&self) -> Opcodes {
        Opcodes::PARTS
    }

    fn has_member(&self, _member: u64) -> bool {
        true
    }

    fn execute(&self, _command: &Command<'_>) -> Poll<Result<Vec<u8>, Failure>> {
        Poll::Ready(Ok(Vec::new()))
    }
}

type Rngs = Rng<AnyTransport<Platform>, DmaBuffer>;

/// Who has the sources of a bus.
#[derive(Clone, Default)]
struct System(Arc<Mutex<HashMap<u32, Parting>>>);

struct Handing(System, mpsc::Sender<Rngs>);

impl Sink<Platform, Rngs> for Handing {
    fn added(&self, _name: Name, source: Rngs) {
        self.1.send(source).unwrap();
    }

    fn removed(&self, name: Name, why: Parting) {
        self.0.0.lock().unwrap().insert(name.number(), why);
    }
}

/// Buffers that were asked to be filled, and came home.
#[derive(Debug, Default, PartialEq, Eq)]
struct Buffers {
    given: usize,
    back: usize,
}

/// A bus with the sources of virtual functions, and the sources as the operating system has them.
fn on_bus(
    virtuals: &mut VirtualFunctions<Platform>,
    count: u16,
) -> (Bus<Platform>, Vec<Name>, Vec<Rngs>, System) {
    let (tell, hear) = mpsc::channel();
    let system = System::default();
    let mut bus = Bus::new();
    let ids = [Id::of(DeviceId::ENTROPY)];
    bus.register::<Rngs, _>("entropy", &ids, Handing(system.clone(), tell))
        .unwrap();
    let names = virtuals.enable_on(&mut bus, count).unwrap();
    let names = names.into_iter().map(|name| name.unwrap()).collect();
    (bus, names, hear.try_iter().collect(), system)
}

#[test]
fn virtual_functions_that_vanish_under_load_give_every_buffer_back() {
    for ring in [Features::NONE, F::RING_PACKED] {
        let inline = (0..16).map(|seed| Run::Inline { seed });
        for run in inline.chain([Run::Threaded]) {
            let machine = owner_of(sources(3), ring).run(run).build().unwrap();
            let platform = machine.platform();
            let (mut disk, mut virtuals) = owner(&platform);
            let used = platform.ram_used();
            let (mut bus, names, mut sources, system) = on_bus(&mut virtuals, 3);
            let mut buffers = Buffers::default();
            for source in &mut sources {
                for _ in 0..4 {
                    let buffer = DmaBuffer::new(&platform, 64).unwrap();
                    buffers.given += usize::from(source.request(buffer).is_ok());
                }
            }

            virtuals.disable().unwrap();
            // From here on there is nobody, and nothing more is asked for than the bus has time to.
            let mut source = sources.pop().unwrap();
            let unanswered = source.request(DmaBuffer::new(&platform, 64).unwrap());
            buffers.given += usize::from(unanswered.is_ok());
            for name in names {
                bus.removed(name).unwrap();
            }
            sources.push(source);
            let refused = sources.iter_mut().map(|source| {
                let buffer = DmaBuffer::new(&platform, 64).unwrap();
                source.request(buffer).unwrap_err().why
            });
            let refused: Vec<_> = refused.collect();
            for mut source in sources {
                while let Ok(Some(_)) = source.poll() {
                    buffers.back += 1;
                }
                assert_eq!(source.wait(LIMIT).err(), Some(Error::Gone));
                let (_, mut queue) = source.reset();
                while let Ok(Some(_)) = queue.reclaim() {
                    buffers.back += 1;
                }
            }

            assert_eq!(refused, [Error::Gone; 3]);
            assert_eq!(buffers.back, buffers.given, "{run:?}");
            let partings = system.0.lock().unwrap();
            assert!(partings.len() == 3 && partings.values().all(|why| *why == Parting::Removed));
            assert_eq!(platform.leak(), Leak::default());
            assert_eq!(platform.ram_used(), used, "{run:?}");
            // The physical one's device works on.
            disk.read(0, buffer(&platform, 0)).unwrap();
            assert_eq!(disk.wait(LIMIT).unwrap().result, Ok(()));
        }
    }
}

/// In good order: the bus resets each before it is no more.
#[test]
fn virtual_functions_leave_a_bus_and_come_again() {
    let machine = owner_of(sources(3), Features::NONE).run(INLINE);
    let machine = machine.build().unwrap();
    let platform = machine.platform();
    let (_disk, mut virtuals) = owner(&platform);

    for count in [3, 1, 2] {
        let (mut bus, names, mut sources, _system) = on_bus(&mut virtuals, count);
        for source in &mut sources {
            let buffer = DmaBuffer::new(&platform, 64).unwrap();
            source.request(buffer).unwrap();
            assert!(source.wait(LIMIT).is_ok());
        }
        for name in names {
            bus.remove(name).unwrap();
        }
        virtuals.disable().unwrap();

        assert_eq!(sources.len(), usize::from(count));
        assert_eq!(virtuals.count(), 0);
    }
    assert_eq!(platform.leak(), Leak::default());
}

/// Without a bus nobody says that they are gone: what they had is kept, and counted.
#[test]
fn a_virtual_function_that_vanishes_from_its_driver_alone_keeps_what_it_had() {
    let machine = owner_of(sources(1), Features::NONE).run(INLINE);
    let machine = machine.build().unwrap();
    let platform = machine.platform();
    let (_disk, mut virtuals) = owner(&platform);
    let found = virtuals.enable(1).unwrap();
    let mut rng: Rng<_, DmaBuffer> = attach(found[0].open(&platform).unwrap()).unwrap();

    virtuals.disable().unwrap();
    rng.request(DmaBuffer::new(&platform, 64).unwrap()).unwrap();
    let waited = rng.wait(Duration::from_millis(20)).err();
    let (reset, _) = rng.reset();

    assert_eq!(waited, Some(Error::TimedOut));
    assert!(reset.is_err());
    assert_eq!((platform.leak().queues, platform.leak().buffers), (1, 1));
}

/// Clauses: drv:basic/device-groups/admin-cmds:10
#[test]
fn virtual_functions_that_are_members_in_use_are_not_disabled() {
    let machine = owner_of(sources(2), Features::NONE).run(INLINE);
    let machine = machine.build().unwrap();
    let (_disk, mut virtuals) = owner(&machine.platform());
    let nobody = |number, count| {
        let none = VirtualFunctionsError::NoMember { number, count };
        Some(Error::from(none))
    };

    let before = virtuals.member(1).err();
    virtuals.enable(2).unwrap();
    let members = [1, 2].map(|number| virtuals.member(number).unwrap());
    let others = [0, 3].map(|number| virtuals.member(number).err());
    let refused = virtuals.disable().err();
    let count = virtuals.count();
    let ids = members.map(|member| member.id());

    assert_eq!(before, nobody(1, 0));
    assert_eq!(others, [nobody(0, 2), nobody(3, 2)]);
    assert_eq!(refused, Some(VirtualFunctionsError::Members(2).into()));
    assert_eq!((count, ids), (2, [1, 2]));
    assert_eq!(virtuals.disable(), Ok(()));
}
