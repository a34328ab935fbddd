//! Exercises an entropy device: many buffers of many sizes at a time, and a look at what they were
//! filled with.
//!
//! Spec: VIRTIO 1.4 §5.4 "Entropy Device".

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use ringway_driver::dma::DmaBuffer;
use ringway_driver::entropy::{Filled, Rng};
use ringway_driver::error::Error;
use ringway_driver::platform::Platform;
use ringway_driver::transport::Transport;

use super::admin;
use super::bench::{
    Bench, Finding, Progress, RESIZED, Tally, can_resize, note_counts, note_up, probe, smaller,
};
use super::way::Way;
use crate::report::DeviceReport;

/// Sizes of the buffers that the device is given, in bytes.
const SIZES: [usize; 8] = [1, 7, 32, 100, 512, 4096, 16 * 1024, 64 * 1024];

/// How often it is given a buffer of each size.
const TURNS: usize = 12;

/// Buffers that are shorter may be alike by chance.
const TELLING: usize = 16;

/// Exercises the device, and adds what it gave to the bench.
pub(super) fn exercise<T: Transport>(
    transport: T,
    mut bench: Bench<'_, '_>,
    report: &mut DeviceReport,
) {
    let platform = transport.platform().clone();
    let attached = probe(transport).and_then(|probed| {
        Rng::<T, DmaBuffer>::open(probed, &bench.options.wanted(), &bench.options.queue())
    });
    report.check("comes up", attached.as_ref().map(drop));
    let Ok(mut rng) = attached else {
        return;
    };
    note_up(report, rng.queue_size(), rng.device());
    admin::exercise(rng.device(), report);

    let began = platform.now();
    let mut take = Take::default();
    let taken = take.all(&mut rng, &platform, &mut bench);
    report.microseconds = platform.now().saturating_sub(began).as_micros() as u64;
    report.check("fills every buffer with a byte or more", taken);
    if can_resize(rng.device()) {
        let resized = take.resize(&mut rng, &platform);
        report.check(RESIZED, resized);
    }
    report.check("writes no further than it says", take.beyond());
    report.check("gives other bytes each time", take.alike());
    report.check("gives bytes that look random", looks_random(&take.bytes));
    report.bytes = take.bytes.len() as u64;
    report.in_flight = take.deepest;
    note_counts(report, rng.counts());
    bench.random.give(&take.bytes);

    let (reset, mut queue) = rng.reset();
    report.check("lets go when it is reset", reset.map(drop));
    while let Ok(Some(_)) = queue.reclaim() {
        take.tally.back += 1;
    }
    report.check("gives every buffer back", take.tally.finding());
}

/// What was taken from the device.
#[derive(Debug, Default)]
struct Take {
    /// All random bytes.
    bytes: Vec<u8>,
    /// The first bytes of every buffer that has enough of them.
    heads: BTreeSet<[u8; TELLING]>,
    /// Buffers that began as another, or were one byte again and again.
    alike: u64,
    /// Buffers that were written beyond the bytes that were said to be random.
    beyond: u64,
    tally: Tally,
    deepest: u16,
}

impl Take {
    /// Gives the device all buffers, as many at a time as it takes, and takes them in all ways in
    /// turn.
    fn all<T: Transport>(
        &mut self,
        rng: &mut Rng<T, DmaBuffer>,
        platform: &T::Platform,
        bench: &mut Bench<'_, '_>,
    ) -> Finding {
        let mut progress = Progress::of((SIZES.iter().sum::<usize>() * TURNS) as u64);
        let mut done = 0_u64;
        let mut sizes = SIZES.iter().cycle().take(SIZES.len() * TURNS).peekable();
        let mut ways = [Way::Polled, Way::Blocking, Way::Async].iter().cycle();
        while sizes.peek().is_some() || rng.in_flight() != 0 {
            while let Some(size) = sizes.peek() {
                if !self.ask(rng, platform, **size)? {
                    break;
                }
                sizes.next();
            }
            self.deepest = self.deepest.max(rng.in_flight());
            let way = ways.next().copied().unwrap_or(Way::Polled);
            let filled = way.take(platform, rng).map_err(|error| error.to_string())?;
            done += filled.buffer.len() as u64;
            self.look(&filled)?;
            bench.progress(&mut progress, done);
        }
        Ok(())
    }

    /// Has the queue, with buffers in flight, reset alone and begun again: at a smaller size, and at
    /// that of before. Each time the device fills buffers as if nothing had happened.
    fn resize<T: Transport>(
        &mut self,
        rng: &mut Rng<T, DmaBuffer>,
        platform: &T::Platform,
    ) -> Finding {
        let size = rng.queue_size();
        for size in [smaller(size), size] {
            for bytes in SIZES {
                self.ask(rng, platform, bytes)?;
            }
            rng.kick().map_err(|error| error.to_string())?;
            let mut back = 0;
            let resized = rng.resize(size, |_| back += 1);
            self.tally.back += back;
            resized.map_err(|error| error.to_string())?;
            for bytes in SIZES {
                self.ask(rng, platform, bytes)?;
                let filled = Way::Blocking.take(platform, rng);
                self.look(&filled.map_err(|error| error.to_string())?)?;
            }
        }
        Ok(())
    }

    /// Gives the device a buffer. Says whether it, or the platform, had room for it.
    fn ask<T: Transport>(
        &mut self,
        rng: &mut Rng<T, DmaBuffer>,
        platform: &impl Platform,
        size: usize,
    ) -> Finding<bool> {
        let asked = DmaBuffer::new(platform, size)
            .map_err(Error::from)
            .and_then(|buffer| Ok(rng.request(buffer)?));
        match asked {
            Ok(_) => {
                self.tally.given += 1;
                Ok(true)
            }
            Err(Error::QueueFull | Error::PoolFull | Error::Platform(_))
                if rng.in_flight() != 0 =>
            {
                Ok(false)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Looks at one buffer, which held zeroes when the device got it.
    fn look(&mut self, filled: &Filled<DmaBuffer>) -> Finding {
        self.tally.back += 1;
        let len = filled.buffer.len();
        let mut bytes = vec![0; len];
        let read = filled.buffer.read(0, &mut bytes);
        read.map_err(|_| format!("a buffer of {len} bytes has become shorter"))?;
        let random = filled.random as usize;
        let (random, rest) = bytes
            .split_at_checked(random)
            .ok_or_else(|| format!("a buffer of {len} bytes was filled with {random}"))?;
        if random.is_empty() {
            return Err(format!(
                "a buffer of {len} bytes came back without one (§5.4.6.2)"
            ));
        }
        self.beyond += u64::from(rest.iter().any(|byte| *byte != 0));
        if let Some(head) = random.first_chunk::<TELLING>() {
            let constant = random.iter().all(|byte| Some(byte) == head.first());
            self.alike += u64::from(constant || !self.heads.insert(*head));
        }
        self.bytes.extend_from_slice(random);
        Ok(())
    }

    fn beyond(&self) -> Finding {
        if self.beyond == 0 {
            return Ok(());
        }
        Err(format!("{} buffers were written further", self.beyond))
    }

    fn alike(&self) -> Finding {
        if self.alike == 0 {
            return Ok(());
        }
        Err(format!("{} buffers told nothing new", self.alike))
    }
}

/// Whether `bytes` could be random: as many bits set as not, and every value about as often as any
/// other. One run in a hundred million is judged wrongly.
fn looks_random(bytes: &[u8]) -> Finding {
    /// Where a bit count is too far from the half, in standard deviations.
    const DEVIATIONS: u128 = 6;
    /// χ² with 255 degrees of freedom: its mean is 255, its standard deviation 22.6. Too even is as
    /// suspicious as too uneven.
    const CHI_SQUARED: core::ops::RangeInclusive<u128> = 130..=430;
    /// χ² says something if each value is expected five times or more.
    const ENOUGH: usize = 5 * 256;

    let bits = bytes.len() as u128 * 8;
    let ones: u128 = bytes.iter().map(|byte| u128::from(byte.count_ones())).sum();
    // Twice the distance from the half, and the deviation is half the square root of the count.
    let off = (2 * ones).abs_diff(bits);
    if off * off > DEVIATIONS * DEVIATIONS * bits {
        return Err(format!("{ones} of {bits} bits are set"));
    }
    if bytes.len() < ENOUGH {
        return Ok(());
    }
    let mut counts = [0_u128; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = bytes.len() as u128;
    let squares: u128 = counts
        .iter()
        .map(|count| (256 * count).abs_diff(total).pow(2))
        .sum();
    let chi_squared = squares / (256 * total);
    if CHI_SQUARED.contains(&chi_squared) {
        return Ok(());
    }
    Err(format!(
        "χ² of the byte values is {chi_squared}, and should be about 255"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    #[test]
    fn random_bytes_look_random_however_many_they_are() {
        for len in [1, 100, 5000, 1 << 20] {
            let bytes = Random::new(len as u64).take(len);

            assert_eq!(looks_random(&bytes), Ok(()));
        }
    }

    #[test]
    fn zeroes_a_counter_and_text_do_not_look_random() {
        let zeroes = vec![0; 100];
        let counter: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 16).collect();
        let text = b"it was a bright cold day in April".repeat(100);

        assert_eq!(
            looks_random(&zeroes),
            Err("0 of 800 bits are set".to_string())
        );
        assert!(looks_random(&counter).unwrap_err().contains("is 0"));
        assert!(looks_random(&text).is_err());
    }
}
