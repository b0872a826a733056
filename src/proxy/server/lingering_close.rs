//! Closing a connection in such a way that its last bytes can be read.
//!
//! A socket closed with unread data sends a reset, which can destroy those bytes on their way.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// How long, and how much of, the bytes that a client still sends are read after our last ones.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1024 * 1024;
const LINGER_READ_BYTES: usize = 4 * 1024;

/// Writes the last bytes of a connection and closes it.
pub(super) async fn close_with<T: AsyncRead + AsyncWrite + Unpin>(io: &mut T, last: &[u8]) {
    let written = async {
        io.write_all(last).await?;
        io.shutdown().await
    };
    if let Ok(Ok(())) = tokio::time::timeout(LINGER_TIMEOUT, written).await {
        linger(io).await;
    }
}

/// Lets the last response of a connection be read whose client has sent more behind its request: closed
/// with that unread, the socket would send a reset. So it would where more is on its way, and who has sent
/// part of the next request, which is `read` already, is sending the rest. Our sending side is shut. Where
/// nothing more has come there is nothing to wait for.
pub(super) async fn drop_pipelined<T: AsyncRead + Unpin>(io: &mut T, read: &[u8]) {
    if !read.is_empty() {
        return linger(io).await;
    }
    let mut first = [MaybeUninit::uninit(); 64];
    let mut read = ReadBuf::uninit(&mut first);
    let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *io).poll_read(cx, &mut read))).await;
    if matches!(polled, Poll::Ready(Ok(()))) && !read.filled().is_empty() {
        linger(io).await;
    }
}

/// Reads and drops the bytes that still come. Our sending side is shut, so a client that has read it closes.
pub(super) async fn linger<T: AsyncRead + Unpin>(io: &mut T) {
    let drain = async {
        let mut dropped = vec![0; LINGER_READ_BYTES];
        let mut left = LINGER_BYTES_MAX;
        while let Ok(n @ 1..) = io.read(&mut dropped).await {
            left = left.saturating_sub(n);
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_TIMEOUT, drain).await;
}
