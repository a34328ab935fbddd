use super::*;
use std::error::Error as _;
use tempfile::{NamedTempFile, TempDir};

/// An image whose sectors each hold their own number.
fn image(sectors: u8) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = (0..sectors).flat_map(|sector| [sector; 512]).collect();
    fs::write(&file, bytes).unwrap();
    file
}

fn read(disk: &Image, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xaa; len];
    disk.read_at(offset, &mut bytes).unwrap();
    bytes
}

fn refusal(path: impl AsRef<Path>, access: Access) -> String {
    let error = Image::open(path, access).unwrap_err();
    assert!(error.source().is_none(), "{error:?}");
    error.to_string()
}

#[test]
fn sectors_are_read_and_written_where_they_are() {
    let file = image(8);
    let disk = Image::open(&file, Access::ReadWrite).unwrap();

    disk.write_at(512, &[0x55; 1024]).unwrap();
    disk.flush().unwrap();

    assert_eq!(disk.sectors(), 8);
    assert_eq!(read(&disk, 0, 512), [0; 512]);
    assert_eq!(read(&disk, 512, 1024), [0x55; 1024]);
    assert_eq!(fs::read(&file).unwrap()[1536..2048], [3; 512]);
}

#[test]
fn what_is_discarded_keeps_its_place_and_what_is_zeroed_reads_as_zero() {
    let file = image(32);
    let disk = Image::open(&file, Access::ReadWrite).unwrap();

    disk.discard(8192, 4096).unwrap();
    disk.write_zeroes(512, 512, Unmap::Keep).unwrap();
    disk.write_zeroes(1536, 512, Unmap::Allow).unwrap();
    disk.write_zeroes(0, 0, Unmap::Keep).unwrap();

    assert_eq!(read(&disk, 0, 512), [0; 512]);
    assert_eq!(read(&disk, 512, 512), [0; 512]);
    assert_eq!(read(&disk, 1024, 512), [2; 512]);
    assert_eq!(read(&disk, 1536, 512), [0; 512]);
    assert_eq!(read(&disk, 2048, 512), [4; 512]);
    assert_eq!(read(&disk, 12288, 512), [24; 512]);
    assert_eq!(fs::metadata(&file).unwrap().len(), 32 * 512);
}

#[test]
fn zeroes_are_written_where_there_is_no_short_cut() {
    let file = image(200);
    let disk = Image::open(&file, Access::ReadWrite).unwrap();

    disk.write_zeroes_at(512, 198 * 512).unwrap();

    let mut expected = vec![0; 200 * 512];
    expected[199 * 512..].fill(199);
    assert_eq!(fs::read(&file).unwrap(), expected);
}

#[test]
fn an_image_opened_read_only_says_so_and_is_not_written() {
    let file = image(2);
    let disk = Image::open(&file, Access::ReadOnly).unwrap();

    let written = disk.write_at(0, &[9; 512]);

    assert!(disk.is_read_only());
    assert_eq!(disk.abilities(), Abilities::default());
    assert_eq!(written, Err(device::Error::Medium));
    assert_eq!(read(&disk, 0, 512), [0; 512]);
}

#[test]
fn an_image_made_shorter_fails_the_read_and_not_the_program() {
    let file = image(4);
    let disk = Image::open(&file, Access::ReadOnly).unwrap();

    file.as_file().set_len(1024).unwrap();

    assert_eq!(
        disk.read_at(512, &mut [0; 1024]),
        Err(device::Error::Medium)
    );
    assert_eq!(read(&disk, 0, 1024).len(), 1024);
}

#[test]
fn an_image_is_known_by_its_name_or_a_given_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("größe-of-a-long-name.img");
    fs::write(&path, [0; 512]).unwrap();

    let disk = Image::open(&path, Access::ReadOnly).unwrap();

    assert_eq!(&disk.id(), b"gr__e-of-a-long-name");
    assert_eq!(
        &disk.named("root").id(),
        b"root\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    );
}

#[test]
fn an_image_that_is_not_there_is_refused() {
    let folder = TempDir::new().unwrap();

    let said = refusal(folder.path().join("none.img"), Access::ReadOnly);

    assert!(
        said.ends_with("none.img does not exist: give the path of a disk image"),
        "{said}"
    );
}

#[test]
fn an_empty_image_is_refused() {
    let said = refusal(image(0).path(), Access::ReadOnly);

    assert!(said.contains("is empty"), "{said}");
}

#[test]
fn an_image_of_no_whole_sectors_is_refused() {
    let file = image(1);
    file.as_file().set_len(513).unwrap();

    let said = refusal(&file, Access::ReadWrite);

    assert!(
        said.contains("has 513 bytes, which is not a multiple of 512"),
        "{said}"
    );
}

#[test]
fn a_directory_or_a_character_device_is_no_disk() {
    let folder = TempDir::new().unwrap();

    for path in [folder.path(), Path::new("/dev/null")] {
        let said = refusal(path, Access::ReadOnly);

        assert!(
            said.contains("is neither a file nor a block device"),
            "{said}"
        );
    }
}

#[test]
fn an_image_that_is_written_has_one_owner_and_one_that_is_read_has_many() {
    let file = image(8);
    let without = Options {
        locking: Locking::None,
        ..Options::new(Access::ReadWrite)
    };
    let writer = Image::open(&file, Access::ReadWrite).unwrap();

    let refused = [Access::ReadOnly, Access::ReadWrite].map(|access| refusal(&file, access));
    let moves = Image::open_with(&file, without).is_ok();
    drop(writer);
    let readers = [(); 2].map(|()| Image::open(&file, Access::ReadOnly).is_ok());

    for said in refused {
        assert!(said.contains("is in use: stop the server"), "{said}");
        assert!(said.contains("--no-lock"), "{said}");
    }
    assert!(moves);
    assert_eq!(readers, [true, true]);
}

#[test]
fn an_image_of_huge_pages_can_be_read_and_not_written() {
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::os::fd::AsRawFd;
    // Where the system has none, there is nothing to be seen.
    let Ok(memory) = memfd_create("disk", MemfdFlags::HUGETLB | MemfdFlags::CLOEXEC) else {
        return;
    };
    ftruncate(&memory, 2 << 20).unwrap();
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());

    let said = refusal(&path, Access::ReadWrite);
    let disk = Image::open(&path, Access::ReadOnly).unwrap();

    assert!(
        said.contains("open it read-only, or move it to tmpfs"),
        "{said}"
    );
    assert_eq!(read(&disk, 0, 512), [0; 512]);
}
