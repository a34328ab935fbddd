//! A disk that is served by the back-end of others: rust-vmm's `vhost-user-backend`, whose queues are
//! those of `virtio-queue`. The rings are theirs, and so is all that is said on the socket.

use std::io::{Read, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};

use ringway_spec::blk::{RequestStatus, RequestType, SECTOR_SIZE};
use ringway_spec::{F, Features};
use ringway_vhost::protocol::PROTOCOL_FEATURES;
use vhost::vhost_user::{Listener, VhostUserProtocolFeatures};
use vhost_user_backend::{
    ShutdownHandle, VhostUserBackend, VhostUserDaemon, VringRwLock, VringT as _,
};
use virtio_queue::{DescriptorChain, QueueT as _};
use vm_memory::{GuestAddressSpace as _, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{
    EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier,
};

use crate::served::LIMIT;

type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

/// Bytes of a request's header: its type, a field that is not used, and the sector.
const HEADER: usize = 16;

/// The largest queue that it has.
const QUEUE_SIZE: usize = 64;

/// What a disk keeps when the back-end ends.
pub(crate) struct Bytes {
    bytes: Mutex<Vec<u8>>,
    /// How many more requests are served before it does no more.
    left: AtomicUsize,
}

impl Bytes {
    pub(crate) fn new(sectors: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes: Mutex::new(vec![0; sectors * SECTOR_SIZE]),
            left: AtomicUsize::new(usize::MAX),
        })
    }

    /// From here on it serves so many requests, and no more.
    pub(crate) fn serve(&self, requests: usize) {
        self.left.store(requests, Ordering::SeqCst);
    }

    /// What is in a sector.
    pub(crate) fn sector(&self, number: u64) -> Vec<u8> {
        let start = number as usize * SECTOR_SIZE;
        self.bytes.lock().unwrap()[start..start + SECTOR_SIZE].to_vec()
    }
}

/// The device, for one connection.
struct Disk {
    disk: Arc<Bytes>,
    memory: Mutex<Option<Memory>>,
}

impl Disk {
    /// Serves all that there is.
    fn serve(&self, vring: &VringRwLock) {
        let memory = self.memory.lock().unwrap().clone().unwrap();
        loop {
            let left = |left: usize| left.checked_sub(1);
            let order = Ordering::SeqCst;
            if self.disk.left.fetch_update(order, order, left).is_err() {
                return;
            }
            let chain = {
                let mut state = vring.get_mut();
                let queue = state.get_queue_mut();
                queue.pop_descriptor_chain(memory.memory())
            };
            let Some(chain) = chain else {
                self.disk.left.fetch_add(1, order);
                return;
            };
            let id = chain.head_index();
            let written = self.request(chain);
            vring.add_used(id, written).unwrap();
            if vring.needs_notification().unwrap() {
                vring.signal_used_queue().unwrap();
            }
        }
    }

    /// Does what a chain asks for. Says how many bytes it has written.
    fn request<M: Deref<Target = GuestMemoryMmap> + Clone>(
        &self,
        chain: DescriptorChain<M>,
    ) -> u32 {
        let memory = chain.memory().clone();
        let mut readable = chain.clone().reader(&memory).unwrap();
        let mut writable = chain.writer(&memory).unwrap();
        let mut header = [0; HEADER];
        readable.read_exact(&mut header).unwrap();
        let request = RequestType::from_u32(u32::from_le_bytes(header[..4].try_into().unwrap()));
        let sector = u64::from_le_bytes(header[8..].try_into().unwrap());

        let mut disk = self.disk.bytes.lock().unwrap();
        let rest = disk.get_mut(sector as usize * SECTOR_SIZE..).unwrap();
        let data = writable.available_bytes() - 1;
        let status = match request {
            RequestType::OUT => readable
                .read_exact(&mut rest[..readable.available_bytes()])
                .map(|()| RequestStatus::OK),
            RequestType::IN => writable
                .write_all(&rest[..data])
                .map(|()| RequestStatus::OK),
            RequestType::FLUSH => Ok(RequestStatus::OK),
            _ => Ok(RequestStatus::UNSUPP),
        };
        writable.write_all(&[status.unwrap().0]).unwrap();
        writable.bytes_written() as u32
    }
}

impl VhostUserBackend for Disk {
    type Bitmap = ();
    type Vring = VringRwLock;

    fn num_queues(&self) -> usize {
        1
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        let features: Features = F::VERSION_1 | F::EVENT_IDX | F::INDIRECT_DESC;
        features.0 as u64 | PROTOCOL_FEATURES
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::BACKEND_REQ
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
            | VhostUserProtocolFeatures::RESET_DEVICE
    }

    fn set_event_idx(&self, _enabled: bool) {
        // Their queue is told, too.
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let sectors = self.disk.bytes.lock().unwrap().len() / SECTOR_SIZE;
        let mut config = (sectors as u64).to_le_bytes().to_vec();
        config.resize((offset + size) as usize, 0);
        config.split_off(offset as usize)
    }

    fn update_memory(&self, memory: Memory) -> std::io::Result<()> {
        *self.memory.lock().unwrap() = Some(memory);
        Ok(())
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        Some(new_event_consumer_and_notifier(EventFlag::NONBLOCK).unwrap())
    }

    fn handle_event(
        &self,
        queue: u16,
        _events: EventSet,
        vrings: &[VringRwLock],
        _thread: usize,
    ) -> std::io::Result<()> {
        let vring = &vrings[usize::from(queue)];
        loop {
            vring.disable_notification().unwrap();
            self.serve(vring);
            let more = vring.enable_notification().unwrap();
            if !more || self.disk.left.load(Ordering::SeqCst) == 0 {
                return Ok(());
            }
        }
    }
}

/// Their back-end, which serves a disk at a path, for one connection. Ends when it is dropped.
pub(crate) struct Theirs {
    path: PathBuf,
    connection: mpsc::Receiver<ShutdownHandle>,
    thread: Option<JoinHandle<()>>,
}

impl Theirs {
    pub(crate) fn new(path: &Path, disk: &Arc<Bytes>) -> Self {
        let mut listener = Listener::new(path, true).unwrap();
        let disk = Arc::new(Disk {
            disk: disk.clone(),
            memory: Mutex::new(None),
        });
        let (sender, connection) = mpsc::channel();
        let thread = thread::spawn(move || {
            let memory = Memory::new(GuestMemoryMmap::new());
            let mut daemon = VhostUserDaemon::new("theirs".to_owned(), disk, memory).unwrap();
            daemon.start(&mut listener).unwrap();
            // Whoever connects from here on meets another one, or none.
            drop(listener);
            sender.send(daemon.shutdown_handle().unwrap()).unwrap();
            // Why it ended: the connection was closed, and in their words that may be an error.
            let _ = daemon.wait();
        });
        Self {
            path: path.into(),
            connection,
            thread: Some(thread),
        }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        self.connection.recv_timeout(LIMIT).unwrap().shutdown();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        assert!(!self.path.exists(), "their listener removes it");
    }
}
