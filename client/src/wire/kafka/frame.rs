//! Whole frames: length, header, body.

use super::api::ApiKey;
use super::error_code::ErrorCode;
use super::header::{RequestHeader, ResponseHeader};
use super::message::{Message, Request};
use super::text::Str;
use super::writer::{EncodeError, Part, Writer};

/// A request as it goes to the socket.
pub fn request<R: Request>(
    body: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&Str>,
) -> Result<Vec<Part>, EncodeError> {
    let mut writer = Writer::frame();
    let header = RequestHeader {
        api_key: R::KEY,
        api_version: version,
        correlation_id,
        client_id: client_id.cloned(),
    };
    header.encode(&mut writer);
    body.encode(&mut writer, version);
    writer.finish()
}

/// A response as it goes to the socket.
#[derive(Debug)]
pub struct ResponseFrame {
    pub parts: Vec<Part>,
    /// How often it says each error code, `NONE` included.
    pub codes: Vec<(ErrorCode, u64)>,
}

/// The response to a request of that key, in the version the request had, as it goes to the socket. A body may be
/// encoded in another version only where the protocol says so: ApiVersions, asked in a version nobody knows, is
/// answered in version 0.
pub fn response<M: Message>(
    body: &M,
    key: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<ResponseFrame, EncodeError> {
    let mut writer = Writer::frame();
    ResponseHeader { correlation_id }.encode(&mut writer, key, version);
    body.encode(&mut writer, version);
    let codes = writer.take_codes();
    Ok(ResponseFrame { parts: writer.finish()?, codes })
}
