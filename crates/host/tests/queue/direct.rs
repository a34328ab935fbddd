//! Images that are read and written past the system's cache.

use super::*;

use ringway_host::Error;

fn open(file: &NamedTempFile) -> Result<Image, Error> {
    let options = Options {
        cache: Cache::Direct,
        ..Options::new(Access::ReadWrite)
    };
    Image::open_with(file, options)
}

#[test]
fn memory_that_is_aligned_and_memory_that_is_not_are_read_and_written() {
    const BYTES: usize = 32 * 1024;
    let bytes = Random(3).bytes(BYTES);
    let methods = [Method::Adaptive, Method::Blocking];
    for (align, method) in [1, 4, 512, 4096]
        .iter()
        .flat_map(|align| methods.map(|it| (*align, it)))
    {
        let file = file(&std::env::temp_dir(), &vec![0; BYTES]);
        // Where the folder for such files is in memory, there is nothing to be seen.
        let Ok(image) = open(&file) else { return };
        let image = Arc::new(image.with_method(method));
        let mut bench = Bench::new(image, Features::NONE).aligned(align);

        bench.submit(header(RequestType::OUT, 0), &bytes, 0, &[8192]);
        let written = bench.answer().status;
        bench.submit(header(RequestType::IN, 0), &[], BYTES, &[8192]);
        let read = bench.answer();

        assert_eq!((written, read.status), (OK, OK), "multiples of {align}");
        assert!(read.data == bytes, "multiples of {align}");
        assert!(fs::read(&file).unwrap() == bytes, "multiples of {align}");
    }
}

#[test]
fn an_image_in_memory_cannot_be_read_past_the_cache_and_the_refusal_says_so() {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        return;
    }

    let refused = open(&file(memory, &[0; 4096])).unwrap_err().to_string();

    assert!(refused.contains("leave out --direct"), "{refused}");
}
