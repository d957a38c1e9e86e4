//! The first message each way, sent without headers.

use crate::wire::codec::{DecodeError, Reader, Writer, write_frame};
use crate::wire::zk::ids::SessionId;

/// Opens a session, or takes one up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// Always 0.
    pub protocol_version: i32,
    /// The last place in the order that the client has seen; a server that is behind it must refuse.
    pub last_zxid_seen: i64,
    /// How long the client may be silent, as it wishes.
    pub timeout_ms: i32,
    /// Which session to take up again.
    pub session: SessionId,
    /// That session's password; 16 zeros for a new one.
    pub password: &'a [u8],
    /// `None` is the old form, without the byte, whose sender expects an answer without it.
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Reads the body of the frame.
    pub fn decode(body: &'a [u8]) -> Result<ConnectRequest<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        Ok(ConnectRequest {
            protocol_version: reader.int()?,
            last_zxid_seen: reader.long()?,
            timeout_ms: reader.int()?,
            session: SessionId(reader.long()?),
            password: reader.buffer()?.unwrap_or_default(),
            read_only: if reader.rest().is_empty() { None } else { Some(reader.boolean()?) },
        })
    }

    /// Appends the whole frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, |out| {
            out.int(self.protocol_version);
            out.long(self.last_zxid_seen);
            out.int(self.timeout_ms);
            out.long(self.session.0);
            out.buffer(Some(self.password));
            if let Some(read_only) = self.read_only {
                out.boolean(read_only);
            }
        });
    }
}

/// The answer: the session, or all zeros when there is none to be had under that id and password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectResponse {
    /// How long the client may be silent, as the server decided.
    pub timeout_ms: i32,
    /// Which session.
    pub session: SessionId,
    /// What proves later that it is ours.
    pub password: [u8; 16],
    /// Whether this server answers reads only; `None` is the old form, without the byte.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// "That session is gone."
    pub fn expired(read_only: Option<bool>) -> ConnectResponse {
        ConnectResponse { timeout_ms: 0, session: SessionId::NONE, password: [0; 16], read_only }
    }

    /// Appends the whole frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, |out| {
            out.int(0);
            out.int(self.timeout_ms);
            out.long(self.session.0);
            out.buffer(Some(&self.password));
            if let Some(read_only) = self.read_only {
                out.boolean(read_only);
            }
        });
    }

    /// Reads the body of the frame.
    pub fn decode(body: &[u8]) -> Result<ConnectResponse, DecodeError> {
        let mut reader = Reader::new(body);
        reader.int()?;
        let timeout_ms = reader.int()?;
        let session = SessionId(reader.long()?);
        let password = reader.buffer()?.unwrap_or_default().try_into().unwrap_or([0; 16]);
        let read_only = if reader.rest().is_empty() { None } else { Some(reader.boolean()?) };
        Ok(ConnectResponse { timeout_ms, session, password, read_only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_survive_a_round_trip() {
        for (read_only, request_size, response_size) in
            [(None, 44, 36), (Some(false), 45, 37), (Some(true), 45, 37)]
        {
            let request = ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: 7,
                timeout_ms: 10_000,
                session: SessionId(0x0100_0000_0000_0001),
                password: &[9; 16],
                read_only,
            };
            let mut bytes = Vec::new();
            request.write(&mut bytes);
            assert_eq!(bytes.len() - 4, request_size);
            assert_eq!(ConnectRequest::decode(&bytes[4..]), Ok(request));

            let response =
                ConnectResponse { timeout_ms: 4000, session: request.session, password: [3; 16], read_only };
            let mut bytes = Vec::new();
            response.write(&mut bytes);
            assert_eq!(bytes.len() - 4, response_size);
            assert_eq!(ConnectResponse::decode(&bytes[4..]), Ok(response));
        }
    }
}
