//! What precedes every request and response.

use super::api::ApiKey;
use super::field::{Field, Nullable};
use super::reader::{DecodeError, Problem, Reader};
use super::text::Str;
use super::writer::Writer;

/// Who asks for what, and the number that the answer will repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    pub api_key: ApiKey,
    /// As the client sent it: it may be one that nobody speaks. See [`ApiKey::versions`].
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Str>,
}

impl RequestHeader {
    /// Reads the header in the form that key and version call for.
    pub fn decode(reader: &mut Reader) -> Result<RequestHeader, DecodeError> {
        let decode = |reader: &mut Reader| {
            let key = reader.int16()?;
            let api_key = ApiKey::from_wire(key).ok_or(Problem::UnknownApiKey(key))?;
            let api_version = reader.int16()?;
            let correlation_id = reader.int32()?;
            let form = api_key.request_header_version(api_version);
            // The client id keeps its two-byte length even where everything else is compact.
            reader.set_flexible(false);
            let client_id = if form >= 1 { Str::read_nullable(reader, form)? } else { None };
            if form >= 2 {
                reader.tagged_fields(|_, _| Ok(false))?;
            }
            Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
        };
        decode(reader).map_err(|error: DecodeError| error.within("RequestHeader"))
    }

    pub fn encode(&self, writer: &mut Writer) {
        writer.int16(self.api_key.to_wire());
        writer.int16(self.api_version);
        writer.int32(self.correlation_id);
        let form = self.api_key.request_header_version(self.api_version);
        writer.set_flexible(false);
        if form >= 1 {
            self.client_id.write(writer, form);
        }
        if form >= 2 {
            writer.unsigned_varint(0);
        }
    }
}

/// Which request this answers. Its form depends on the request's key and version, which the asker remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHeader {
    pub correlation_id: i32,
}

impl ResponseHeader {
    pub fn decode(reader: &mut Reader, key: ApiKey, version: i16) -> Result<ResponseHeader, DecodeError> {
        let decode = |reader: &mut Reader| {
            let correlation_id = reader.int32()?;
            if key.response_header_version(version) >= 1 {
                reader.tagged_fields(|_, _| Ok(false))?;
            }
            Ok(ResponseHeader { correlation_id })
        };
        decode(reader).map_err(|error: DecodeError| error.within("ResponseHeader"))
    }

    pub fn encode(&self, writer: &mut Writer, key: ApiKey, version: i16) {
        writer.int32(self.correlation_id);
        if key.response_header_version(version) >= 1 {
            writer.unsigned_varint(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::kafka::writer::join;

    fn written(write: impl FnOnce(&mut Writer)) -> Bytes {
        let mut writer = Writer::new();
        write(&mut writer);
        join(&writer.finish().unwrap())
    }

    #[test]
    fn each_form_is_read_back() {
        for (api_key, api_version, client_id, length) in [
            (ApiKey::ControlledShutdown, 0, None, 8),
            (ApiKey::Produce, 8, Some("me".into()), 12),
            (ApiKey::Produce, 9, Some("me".into()), 13),
            (ApiKey::Produce, 9, None, 11),
            // A version from the future still has a header that can be read.
            (ApiKey::ApiVersions, 99, Some("me".into()), 13),
        ] {
            let header = RequestHeader { api_key, api_version, correlation_id: 7, client_id };
            let bytes = written(|writer| header.encode(writer));
            assert_eq!(bytes.len(), length);
            let mut reader = Reader::new(bytes);
            assert_eq!(RequestHeader::decode(&mut reader), Ok(header));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn api_versions_is_answered_in_the_oldest_form() {
        let header = ResponseHeader { correlation_id: 7 };
        for (key, version, length) in
            [(ApiKey::ApiVersions, 4, 4), (ApiKey::Metadata, 8, 4), (ApiKey::Metadata, 9, 5)]
        {
            let bytes = written(|writer| header.encode(writer, key, version));
            assert_eq!(bytes.len(), length);
            assert_eq!(ResponseHeader::decode(&mut Reader::new(bytes), key, version), Ok(header));
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = RequestHeader::decode(&mut Reader::new(Bytes::from_static(b"GET / HT"))).unwrap_err();
        assert_eq!(error.to_string(), "RequestHeader: API key 18245 does not exist");
    }
}
