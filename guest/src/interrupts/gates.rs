//! Segments, stacks and entry points: what the CPU does when something happens.
//!
//! Compiled code keeps data below its stack pointer (the red zone), so every gate changes to a
//! stack of its own.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::mem::size_of;

use super::dispatch;
use crate::layout;

/// The stack at the time of [`dispatch`]: the interrupted program's state, less the registers that
/// a call preserves.
#[repr(C)]
pub(super) struct Frame {
    /// Saved here because the entry keeps its stack pointer in `rbx`.
    rbx: u64,
    /// `r11`, `r10`, `r9`, `r8`, `rdi`, `rsi`, `rdx`, `rcx`, `rax`.
    scratch: [u64; 9],
    pub(super) vector: u64,
    /// 0 for vectors without one.
    pub(super) error_code: u64,
    pub(super) rip: u64,
    cs: u64,
    rflags: u64,
    pub(super) rsp: u64,
    ss: u64,
}

const CODE: u16 = 0x08;
const DATA: u16 = 0x10;
const TASK: u16 = 0x18;

/// Numbers of the stacks in the task state, as gates name them.
const INTERRUPT_STACK: u64 = 1;
const EXCEPTION_STACK: u64 = 2;
const NMI_STACK: u64 = 3;

/// Present, ring 0, 64-bit interrupt gate: interrupts are off inside.
const GATE: u64 = 0x8e;

/// Bytes between two entries of `interrupt_stubs`.
const STUB_SIZE: u64 = 16;

/// The task state: nothing but the stacks that gates change to.
#[repr(C, packed(4))]
struct TaskState {
    reserved: u32,
    ring_stacks: [u64; 3],
    reserved_too: u64,
    gate_stacks: [u64; 7],
    reserved_also: [u16; 5],
    io_map: u16,
}

/// What the CPU reads after `init` has written it.
#[repr(C, align(16))]
struct Tables {
    task: TaskState,
    segments: [u64; 5],
    gates: [[u64; 2]; 256],
}

struct Static(UnsafeCell<Tables>);

// SAFETY: written by `init` alone, which runs once, before the CPU is told where the tables are.
unsafe impl Sync for Static {}

static TABLES: Static = Static(UnsafeCell::new(Tables {
    task: TaskState {
        reserved: 0,
        ring_stacks: [0; 3],
        reserved_too: 0,
        gate_stacks: [0; 7],
        reserved_also: [0; 5],
        io_map: 0,
    },
    segments: [0; 5],
    gates: [[0; 2]; 256],
}));

/// Loads segments, the task state and a gate for every vector.
///
/// # Safety
///
/// Must be called once, with interrupts off.
pub(crate) unsafe fn init() {
    // SAFETY: called once, so this is the only reference there ever is, and the CPU does not know
    // the tables yet.
    let tables = unsafe { &mut *TABLES.0.get() };

    let [_, interrupt, exception, nmi] = layout::stacks();
    tables.task.gate_stacks = [interrupt.top, exception.top, nmi.top, 0, 0, 0, 0];
    tables.task.io_map = size_of::<TaskState>() as u16;

    let task = (&raw const tables.task).addr() as u64;
    let limit = size_of::<TaskState>() as u64 - 1;
    tables.segments = [
        0,
        0x00af_9a00_0000_ffff, // 64-bit code
        0x00cf_9200_0000_ffff, // data
        limit | (task & 0xff_ffff) << 16 | 0x89 << 40 | (task >> 24 & 0xff) << 56,
        task >> 32,
    ];

    let stubs = (&raw const interrupt_stubs).addr() as u64;
    for (vector, gate) in (0..).zip(&mut tables.gates) {
        let stack = match vector {
            super::NMI => NMI_STACK,
            0..32 => EXCEPTION_STACK,
            _ => INTERRUPT_STACK,
        };
        let entry = stubs + STUB_SIZE * vector;
        *gate = [
            (entry & 0xffff)
                | u64::from(CODE) << 16
                | stack << 32
                | GATE << 40
                | (entry >> 16 & 0xffff) << 48,
            entry >> 32,
        ];
    }

    let segments = Pointer::to(&tables.segments);
    let gates = Pointer::to(&tables.gates);
    // SAFETY: the tables live for ever and are well-formed: segments at `CODE` and `DATA` are the
    // flat ones in use, the descriptor at `TASK` names a task state whose stacks are mapped,
    // each gate names a stub of its own.
    unsafe {
        asm!(
            "lgdt [{segments}]",
            "push {code}", "lea {scratch}, [rip + 2f]", "push {scratch}", "retfq", "2:",
            "mov ds, {data:e}", "mov es, {data:e}", "mov ss, {data:e}",
            "ltr {task:x}",
            "lidt [{gates}]",
            segments = in(reg) &raw const segments,
            gates = in(reg) &raw const gates,
            code = in(reg) u64::from(CODE),
            data = in(reg) u32::from(DATA),
            task = in(reg) TASK,
            scratch = out(reg) _,
        );
    }
}

/// What `lgdt` and `lidt` are given.
#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

impl Pointer {
    fn to<T>(table: &'static T) -> Self {
        Self {
            limit: (size_of::<T>() - 1) as u16,
            base: (&raw const *table).addr() as u64,
        }
    }
}

unsafe extern "C" {
    static interrupt_stubs: u8;
}

// One entry for each vector: it makes all frames alike (some exceptions push an error code, nothing
// else does) and adds the vector. Then the registers that a call may change are kept, those of SSE
// included.
global_asm!(
    r#"
    .pushsection .text.interrupt_stubs, "ax", @progbits
    .balign 16
interrupt_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
    .else
    pushq $0
    .endif
    pushq $vector
    jmp interrupt_entry
    .set vector, vector + 1
    .endr

interrupt_entry:
    cld
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbx
    movq %rsp, %rdi
    movq %rsp, %rbx
    subq $512, %rsp
    andq $-16, %rsp
    fxsave64 (%rsp)
    call {dispatch}
    fxrstor64 (%rsp)
    movq %rbx, %rsp
    popq %rbx
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq
    .popsection
    "#,
    dispatch = sym dispatch,
    options(att_syntax),
);
