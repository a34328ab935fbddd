//! From the loader's hand to Rust: the PVH entry in 32-bit mode, long mode, and the call of
//! [`crate::main`].
//!
//! PVH is the start protocol of Xen and QEMU: an ELF note of type 18 names a 32-bit entry, which is
//! called with flat segments, paging off, interrupts off, and the physical address of the start
//! info in `ebx`.

#![expect(
    unsafe_code,
    reason = "the first instructions of a machine, and the symbol they call"
)]

use core::arch::global_asm;

global_asm!(
    r#"
    .pushsection .note.pvh, "a", @note
    .balign 4
    .long 4                         # size of the name
    .long 4                         # size of the value
    .long 18                        # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_entry
    .popsection

    .pushsection .bss.boot, "aw", @nobits
    .balign 4096
boot_pml4:
    .skip 4096
boot_pdpt:
    .skip 4096
boot_directories:                   # four, one for each GiB
    .skip 4 * 4096
    .popsection

    .pushsection .rodata.boot, "a", @progbits
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff        # 0x08: 64-bit code
    .quad 0x00cf92000000ffff        # 0x10: data
boot_gdt_pointer:
    .word . - boot_gdt - 1
    .long boot_gdt
    .popsection

    .pushsection .text.boot, "ax", @progbits
    .code32
    .globl pvh_entry
pvh_entry:
    cli
    cld
    mov esp, offset main_stack_top
    mov esi, ebx                    # the start info; nothing below touches esi

    mov edi, offset bss_start       # zeroes .bss, the page tables among it
    mov ecx, offset bss_end
    sub ecx, edi
    shr ecx, 2
    xor eax, eax
    rep stosd

    # The first 4 GiB, in 2 MiB pages. From 3 GiB on there are devices and no RAM: uncached (PCD, PWT).
    mov edi, offset boot_directories
    mov eax, 0x83                   # present, writable, 2 MiB
2:  mov [edi], eax
    add edi, 8
    add eax, 0x200000
    cmp eax, 0xc0000083
    jne 3f
    or eax, 0x18
3:  cmp eax, 0x9b                   # wrapped: 4 GiB are mapped
    jne 2b

    mov eax, offset boot_pdpt
    or eax, 3
    mov [boot_pml4], eax
    mov eax, offset boot_directories
    or eax, 3
    mov edi, offset boot_pdpt
    mov ecx, 4
4:  mov [edi], eax
    add edi, 8
    add eax, 4096
    loop 4b

    # From 4 GiB to 512 GiB, where the firmware may put large BARs: uncached 1 GiB pages, if the CPU has them.
    mov eax, 0x80000001
    cpuid
    bt edx, 26
    jnc 6f
    mov ecx, 4
5:  mov eax, ecx
    shl eax, 30
    or eax, 0x9b
    mov [edi], eax
    mov eax, ecx
    shr eax, 2
    mov [edi + 4], eax
    add edi, 8
    inc ecx
    cmp ecx, 512
    jne 5b
6:
    mov eax, offset boot_pml4
    mov cr3, eax
    mov eax, cr4
    or eax, 0x620                   # PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov ecx, 0xc0000080             # EFER
    rdmsr
    or eax, 0x900                   # LME, NXE
    wrmsr
    mov eax, cr0
    and eax, 0x9ffffff3             # CD, NW, TS and EM off: caches and SSE on
    or eax, 0x80010022              # PG, WP, NE, MP
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    push 0x08
    mov eax, offset long_mode
    push eax
    retf

    .code64
long_mode:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov esp, offset main_stack_top
    xor ebp, ebp
    mov edi, esi
    call {start}
    ud2
    .popsection
    "#,
    start = sym start,
);

/// The first Rust of the image. `start_info` is the physical address that the loader passed.
extern "C" fn start(start_info: u32) -> ! {
    // SAFETY: called once, by `pvh_entry` above, with the loader's own address, on the only CPU
    // that runs, with interrupts off, the memory below 4 GiB mapped at its physical addresses,
    // and `.bss` zeroed.
    match unsafe { ringway_guest::bring_up(start_info) } {
        Ok(command_line) => crate::main(&command_line),
        Err(error) => ringway_guest::failure::fail("setup", format_args!("{error}")),
    }
}
