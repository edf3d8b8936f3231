use std::io::{Read, Seek};
use std::sync::mpsc::channel;

use super::*;

const BOTH: [Compression; 2] = [Compression::Gzip { level: 6 }, Compression::Zstd { level: 3 }];

/// Bytes that compress somewhat, the same ones each time.
fn bytes(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        let word = next();
        bytes.extend_from_slice(format!("{:x} ", word % 4096).as_bytes());
        bytes.extend(word.is_multiple_of(64).then_some(word as u8));
    }
    bytes.truncate(size);
    bytes
}

/// Layers one after another through one packer: what came out, and what was told.
fn pack(compression: Compression, workers: usize, layers: &[&[u8]]) -> Vec<(Vec<u8>, Packed)> {
    let packer = Packer::with(compression, workers).expect("threads");
    let (told, done) = channel();
    let mut files = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let file = tempfile::tempfile().expect("a file");
        let mut packing = packer.layer(file.try_clone().expect("a file"));
        files.push(file);
        // In pieces that are no blocks.
        for piece in layer.chunks(100_003) {
            packing.write_all(piece).expect("written");
        }
        let told = told.clone();
        packing.finish(move |packed| told.send((number, packed)).expect("heard")).expect("finished");
    }
    drop(packer);
    drop(told);
    let mut done: Vec<_> = done.iter().collect();
    done.sort_by_key(|(number, _)| *number);
    let read = |mut file: File| {
        let mut bytes = Vec::new();
        file.rewind().expect("rewound");
        file.read_to_end(&mut bytes).expect("read");
        bytes
    };
    files.into_iter().map(read).zip(done.into_iter().map(|(_, packed)| packed.expect("packed"))).collect()
}

fn unpack(compression: Compression, packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match compression {
        Compression::Gzip { .. } => flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut bytes).expect("gzip"),
        Compression::Zstd { .. } => zstd::Decoder::new(packed).expect("zstd").read_to_end(&mut bytes).expect("zstd"),
    };
    bytes
}

#[test]
fn the_bytes_are_the_same_whatever_the_number_of_cores() {
    for compression in BOTH {
        let block = block(compression);
        let whole = bytes(3 * block + 4711);
        let layers: Vec<&[u8]> =
            [0, 1, block - 1, block, block + 1, 3 * block, whole.len()].iter().map(|size| &whole[..*size]).collect();
        let first = pack(compression, 1, &layers);
        for (layer, (packed, told)) in layers.iter().zip(&first) {
            assert!(unpack(compression, packed) == *layer, "{compression}, {} bytes", layer.len());
            assert_eq!((told.diff_id, told.unpacked), (Digest::of(layer), layer.len() as u64));
            assert_eq!((told.digest, told.size), (Digest::of(packed), packed.len() as u64));
        }
        for workers in [2, 3, 8] {
            assert!(pack(compression, workers, &layers) == first, "{compression}, {workers} threads");
        }
    }
}

/// Another digest here means that [`compressor`] needs another version: layers that users have would come out as other bytes.
#[test]
fn the_bytes_are_those_that_the_version_promises() {
    let layer = bytes(5 << 20);
    let digest = |compression| pack(compression, 2, &[&layer])[0].1.digest.hex()[..16].to_owned();
    let expected = ["f7b5b68c09f92bc3", "e6af7751b873c2dc", "374af8b9a0a73331", "678aeabf6d998976"];
    let found = [1, 6, 9, 12].map(|level| digest(Compression::Gzip { level }));
    assert_eq!((compressor(BOTH[0]).as_str(), found), ("gzip/2", expected.map(str::to_owned)));
    // The version of zstd is in the compressor's name.
    assert!(compressor(BOTH[1]).starts_with("zstd/3-1."), "{}", compressor(BOTH[1]));
}

#[test]
fn one_layer_that_fails_is_told_and_the_others_go_on() {
    for compression in BOTH {
        let layer = bytes(12 * block(compression));
        let packer = Packer::with(compression, 2).expect("threads");
        let (told, done) = channel();
        // A file that cannot be written: the disk is full.
        let full = File::options().write(true).open("/dev/full").expect("a full disk");
        let mut packing = packer.layer(full);
        let written = packing.write_all(&layer);
        let (failed, finished) = (told.clone(), written.is_ok());
        if finished {
            packing.finish(move |packed| failed.send(packed).expect("heard")).expect("finished");
        } else {
            failed.send(written.map(|()| unreachable!())).expect("heard");
            drop(packing);
        }
        assert_eq!(done.recv().expect("told").expect_err("the disk is full").kind(), io::ErrorKind::StorageFull);
        // All blocks came back: a second layer is not short of them.
        let mut packing = packer.layer(tempfile::tempfile().expect("a file"));
        packing.write_all(&layer).expect("written");
        packing.finish(move |packed| told.send(packed).expect("heard")).expect("finished");
        assert_eq!(done.recv().expect("told").expect("packed").diff_id, Digest::of(&layer));
    }
}

#[test]
fn a_layer_that_is_given_up_gives_its_blocks_back() {
    let packer = Packer::with(BOTH[0], 2).expect("threads");
    let layer = bytes(3 << 20);
    for _ in 0..20 {
        let mut packing = packer.layer(tempfile::tempfile().expect("a file"));
        packing.write_all(&layer[..(2 << 20) + 1]).expect("written");
    }
    let (told, done) = channel();
    let mut packing = packer.layer(tempfile::tempfile().expect("a file"));
    packing.write_all(&layer).expect("written");
    packing.finish(move |packed| told.send(packed).expect("heard")).expect("finished");
    assert_eq!(done.recv().expect("told").expect("packed").diff_id, Digest::of(&layer));
}
