//! Images in memory, which are copied from where they are.

use super::*;

use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const BYTES: usize = 1 << 20;
/// What is read at a time: enough to be copied.
const READ: usize = 64 * 1024;

/// A file in memory whose bytes are all 7; `None` where no file system is.
fn sevens() -> Option<NamedTempFile> {
    let memory = Path::new("/dev/shm");
    memory.is_dir().then(|| file(memory, &[7; BYTES]))
}

/// A queue of the image, reached as it is by default.
fn bench(file: &NamedTempFile) -> Bench {
    Bench::new(disk(file, Way::By(Method::Adaptive)), Features::NONE)
}

fn read(bench: &mut Bench, offset: usize) -> Answer {
    let header = header(RequestType::IN, (offset / SECTOR_SIZE) as u64);
    bench.submit(header, &[], READ, &[5000]);
    bench.answer()
}

/// Whether that was read, and is nothing but `byte`.
fn is_all(answer: &Answer, byte: u8) -> bool {
    answer.status == OK && answer.data.iter().all(|&found| found == byte)
}

/// How many KiB of `file` were looked at through a mapping of this program.
fn looked_at(file: &NamedTempFile) -> u64 {
    let path = file.path().to_str().unwrap();
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = maps.lines().skip_while(|line| !line.ends_with(path));
    let resident = lines.find_map(|line| line.strip_prefix("Rss:"));
    let number = resident.and_then(|line| line.trim().strip_suffix(" kB"));
    number.map_or(0, |number| number.parse().unwrap())
}

#[test]
fn much_is_copied_from_where_it_is_and_little_is_not() {
    let Some(file) = sevens() else { return };
    let read_only = Image::open(&file, Access::ReadOnly).unwrap();
    let mut bench = Bench::new(Arc::new(read_only), Features::NONE);

    bench.submit(header(RequestType::IN, 0), &[], SECTOR_SIZE, &[]);
    let little = (bench.answer().status, looked_at(&file));
    let much = (read(&mut bench, 0), looked_at(&file));

    assert_eq!(little, (OK, 0));
    assert!(is_all(&much.0, 7));
    assert!(much.1 >= 64, "{}", much.1);
}

#[test]
fn a_hole_is_read_and_stays_a_hole() {
    let Some(file) = sevens() else { return };
    let mut bench = bench(&file);
    let blocks = || file.as_file().metadata().unwrap().blocks();
    let before = blocks();
    let discarded = range(1024, 1024, 0);

    let first = read(&mut bench, BYTES / 2);
    bench.submit(
        header(RequestType::DISCARD, 0),
        discarded.as_bytes(),
        0,
        &[],
    );
    let status = bench.answer().status;
    let hole = read(&mut bench, BYTES / 2);
    let edge = read(&mut bench, BYTES / 2 - READ / 2);

    assert!(is_all(&first, 7) && status == OK && is_all(&hole, 0));
    assert_eq!(edge.data[READ / 2 - 1..][..2], [7, 0]);
    assert!(blocks() <= before - 1024, "{} of {before}", blocks());
}

#[test]
fn what_is_written_is_copied_and_a_file_that_grew_is_as_large_as_it_was() {
    let Some(file) = sevens() else { return };
    let mut bench = bench(&file);
    read(&mut bench, 0);

    bench.submit(header(RequestType::OUT, 0), &[9; READ], 0, &[]);
    let written = bench.answer().status;
    file.as_file()
        .write_all_at(&[3; READ], BYTES as u64)
        .unwrap();

    assert!(written == OK && is_all(&read(&mut bench, 0), 9));
    assert!(is_all(&read(&mut bench, BYTES - READ), 7));
    assert_eq!(read(&mut bench, BYTES).status, IOERR);
}

#[test]
fn a_mapped_image_made_shorter_by_pages_or_less_fails_the_read_and_is_read_when_it_is_back() {
    let Some(file) = sevens() else { return };
    let mut bench = bench(&file);
    assert!(is_all(&read(&mut bench, BYTES - READ), 7));

    for missing in [SECTOR_SIZE, READ / 2, READ] {
        file.as_file().set_len((BYTES - missing) as u64).unwrap();
        let answer = read(&mut bench, BYTES - READ);

        assert_eq!(answer.status, IOERR, "{missing} bytes");
        assert!(!answer.data.contains(&UNTOUCHED), "{missing} bytes");
    }
    assert!(is_all(&read(&mut bench, BYTES - 2 * READ), 7));
    file.as_file().set_len(BYTES as u64).unwrap();
    assert!(is_all(&read(&mut bench, BYTES - READ), 0));
}

/// The signal that ends a program which looks at a page that is gone, met again and again.
#[test]
fn an_image_that_shrinks_while_it_is_copied_ends_no_program() {
    let Some(file) = sevens() else { return };
    let over = AtomicBool::new(false);

    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                file.as_file().set_len(0).unwrap();
                file.as_file().write_all_at(&[7; BYTES], 0).unwrap();
            }
        });
        for _ in 0..20 {
            // A mapping that lost a page is not used any more.
            let Ok(image) = Image::open(&file, Access::ReadOnly) else {
                continue;
            };
            let sectors = image.sectors();
            let mut bench = Bench::new(Arc::new(image), Features::NONE);
            for at in (0..sectors).step_by(128).take(16) {
                let answer = read(&mut bench, at as usize * SECTOR_SIZE);
                assert!(answer.status == IOERR || is_all(&answer, 7));
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn an_image_for_which_there_are_no_addresses_is_read_by_calls() {
    let Some(file) = sevens() else { return };
    // More than a program can have on any processor of today.
    let bytes = 1_u64 << 58;
    if file.as_file().set_len(bytes).is_err() {
        return;
    }
    let mut bench = bench(&file);

    let last = header(RequestType::IN, (bytes - READ as u64) / SECTOR_SIZE as u64);
    bench.submit(last, &[], READ, &[]);

    assert!(is_all(&bench.answer(), 0));
    assert!(is_all(&read(&mut bench, 0), 7));
    assert_eq!(looked_at(&file), 0);
}
