//! Reading bodies: with room for them, in time, and decompressed.
//!
//! Room is taken before memory is: for what a body says it has before it is read, and step by step while it is
//! decompressed or translated, so that no few bytes become more than there is room for.

use std::io::Read;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, header};
use bytes::{Bytes, BytesMut};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use super::{BODY_WITHIN, MAX_BODY};

/// Bytes of room that are taken at once.
const STEP: usize = 64 << 10;

/// The largest window of zstd, as a power of two: what decompressing may keep beside its result.
const ZSTD_WINDOW: u32 = 23;

/// Room for the bytes of one request. It is given back when this goes.
#[derive(Debug)]
pub(super) struct Room {
    of: Arc<Semaphore>,
    permit: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn new(of: &Arc<Semaphore>, bytes: usize) -> Result<Self, Refusal> {
        Ok(Self { of: of.clone(), permit: take(of, bytes)? })
    }

    /// Makes it enough for so many bytes.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let has = self.permit.num_permits();
        if bytes > has {
            self.permit.merge(take(&self.of, (bytes - has).max(STEP))?);
        }
        Ok(())
    }
}

fn take(of: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
    let bytes = u32::try_from(bytes).map_err(|_| Refusal::TooLarge)?;
    of.clone().try_acquire_many_owned(bytes).map_err(|_| Refusal::Full)
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
    /// With zlib's header, as HTTP has it, or without, as some send it.
    Deflate,
    Zstd,
    /// One block, without frames.
    Snappy,
}

impl Encoding {
    /// What a header says.
    pub(super) fn of(headers: &HeaderMap, name: HeaderName) -> Result<Self, Refusal> {
        let value = headers.get(name).map(|value| value.to_str().unwrap_or("?").trim().to_ascii_lowercase());
        match value.as_deref() {
            None | Some("" | "identity") => Ok(Self::Plain),
            Some("gzip" | "x-gzip") => Ok(Self::Gzip),
            Some("deflate") => Ok(Self::Deflate),
            Some("zstd") => Ok(Self::Zstd),
            Some("snappy") => Ok(Self::Snappy),
            Some(other) => Err(Refusal::Encoding(other.to_owned())),
        }
    }
}

/// Reads a body and decompresses it. Gives it with the room that it takes.
pub(super) async fn read(of: &Arc<Semaphore>, request: Request<Body>) -> Result<(Bytes, Room), Refusal> {
    let encoding = Encoding::of(request.headers(), header::CONTENT_ENCODING)?;
    let (body, room) = read_as_sent(of, request).await?;
    decompress(encoding, body, room).await
}

/// Reads a body as it was sent.
pub(super) async fn read_as_sent(of: &Arc<Semaphore>, request: Request<Body>) -> Result<(Bytes, Room), Refusal> {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > MAX_BODY) {
        return Err(Refusal::TooLarge);
    }
    let mut room = Room::new(of, declared.unwrap_or(STEP))?;
    let reading = async {
        let mut body = BytesMut::with_capacity(declared.unwrap_or(0));
        let mut pieces = request.into_body().into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| Refusal::Broken(error.to_string()))?;
            if body.len() + piece.len() > MAX_BODY {
                return Err(Refusal::TooLarge);
            }
            room.grow(body.len() + piece.len())?;
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    };
    let body = tokio::time::timeout(BODY_WITHIN, reading).await.map_err(|_| Refusal::Slow)??;
    Ok((body, room))
}

/// Decompresses a body, where nothing else waits for it.
pub(super) async fn decompress(encoding: Encoding, body: Bytes, mut room: Room) -> Result<(Bytes, Room), Refusal> {
    if encoding == Encoding::Plain {
        return Ok((body, room));
    }
    apart(move || {
        let plain = plain(encoding, &body, &mut room)?;
        Ok((plain, room))
    })
    .await
}

/// Does what takes time where nothing else waits for it.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    // It does not end well only where the process ends.
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Refusal::Stopping))
}

pub(super) fn plain(encoding: Encoding, body: &[u8], room: &mut Room) -> Result<Bytes, Refusal> {
    let broken = |error: &dyn std::fmt::Display| Refusal::Broken(format!("not {encoding:?}: {error}").to_lowercase());
    match encoding {
        Encoding::Plain => Ok(Bytes::copy_from_slice(body)),
        Encoding::Gzip => inflate(MultiGzDecoder::new(body), body.len(), room),
        Encoding::Deflate if is_zlib(body) => inflate(ZlibDecoder::new(body), body.len(), room),
        Encoding::Deflate => inflate(DeflateDecoder::new(body), body.len(), room),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(|error| broken(&error))?;
            decoder.window_log_max(ZSTD_WINDOW).map_err(|error| broken(&error))?;
            inflate(decoder, body.len(), room)
        }
        Encoding::Snappy => {
            let length = snap::raw::decompress_len(body).map_err(|error| broken(&error))?;
            if length > MAX_BODY {
                return Err(Refusal::TooLarge);
            }
            room.grow(body.len() + length)?;
            let plain = snap::raw::Decoder::new().decompress_vec(body).map_err(|error| broken(&error))?;
            Ok(Bytes::from(plain))
        }
    }
}

/// Whether there is zlib's header: its method, and a checksum of its two bytes.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..] if method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0)
}

fn inflate(decoder: impl Read, compressed: usize, room: &mut Room) -> Result<Bytes, Refusal> {
    let mut plain = Vec::new();
    let mut decoder = decoder.take(MAX_BODY as u64 + 1);
    loop {
        // A vector doubles.
        room.grow(compressed + (plain.len() + STEP).next_power_of_two().min(MAX_BODY))?;
        let piece = (&mut decoder).take(STEP as u64).read_to_end(&mut plain);
        match piece.map_err(|error| Refusal::Broken(format!("it can't be decompressed: {error}")))? {
            0 => return Ok(Bytes::from(plain)),
            _ if plain.len() > MAX_BODY => return Err(Refusal::TooLarge),
            _ => {}
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use rstest::rstest;

    use super::*;

    fn room(bytes: usize) -> Room {
        Room::new(&Arc::new(Semaphore::new(bytes)), 1).expect("room")
    }

    pub(crate) fn compress(encoding: Encoding, plain: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Plain => plain.to_vec(),
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(plain).expect("compress");
                encoder.finish().expect("compress")
            }
            Encoding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(plain).expect("compress");
                encoder.finish().expect("compress")
            }
            Encoding::Zstd => zstd::encode_all(plain, 3).expect("compress"),
            Encoding::Snappy => snap::raw::Encoder::new().compress_vec(plain).expect("compress"),
        }
    }

    #[rstest]
    #[case(Encoding::Gzip)]
    #[case(Encoding::Deflate)]
    #[case(Encoding::Zstd)]
    #[case(Encoding::Snappy)]
    fn a_small_body_can_not_become_an_endless_one(#[case] encoding: Encoding) {
        let text = b"one\ntwo\n".repeat(1_000);
        let body = compress(encoding, &text);
        assert_eq!(plain(encoding, &body, &mut room(1 << 20)).expect("fits"), text);
        assert!(matches!(plain(encoding, &body, &mut room(5_000)), Err(Refusal::Full)), "no room is left");
        let bomb = compress(encoding, &vec![0; MAX_BODY + 1]);
        assert!(bomb.len() < MAX_BODY / 10);
        assert!(matches!(plain(encoding, &bomb, &mut room(3 * MAX_BODY)), Err(Refusal::TooLarge)));
        assert!(matches!(plain(encoding, b"\x10not compressed", &mut room(1 << 20)), Err(Refusal::Broken(_))));
    }

    #[test]
    fn deflate_comes_without_a_header_too() {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(b"text").expect("compress");
        let body = encoder.finish().expect("compress");
        assert_eq!(plain(Encoding::Deflate, &body, &mut room(1 << 20)).expect("deflate"), "text");
    }

    #[test]
    fn room_comes_back() {
        let of = Arc::new(Semaphore::new(200_000));
        let mut room = Room::new(&of, 10).expect("room");
        room.grow(150_000).expect("room");
        assert!(matches!(room.grow(200_001), Err(Refusal::Full)));
        assert!(matches!(Room::new(&of, 60_000), Err(Refusal::Full)));
        drop(room);
        assert_eq!(of.available_permits(), 200_000);
    }
}
