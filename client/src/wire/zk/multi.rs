//! Several operations in one request.

use std::borrow::Cow;

use crate::wire::codec::{DecodeError, Reader, Writer};
use crate::wire::zk::error_code::ErrorCode;
use crate::wire::zk::op_code::OpCode;
use crate::wire::zk::request::Create;
use crate::wire::zk::stat::Stat;

/// One operation of a multi (writes and checks) or of a multiRead (reads).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiOp<'a> {
    /// Any of the four operations that create.
    Create(Create<'a>),
    /// Deletes a znode.
    Delete {
        /// Of the znode.
        path: Cow<'a, str>,
        /// The one it must have, or −1 for any.
        version: i32,
    },
    /// Sets data.
    SetData {
        /// Of the znode.
        path: Cow<'a, str>,
        /// The new data.
        data: Option<&'a [u8]>,
        /// The one it must have, or −1 for any.
        version: i32,
    },
    /// Compares a version.
    Check {
        /// Of the znode.
        path: Cow<'a, str>,
        /// The one it must have, or −1 for any.
        version: i32,
    },
    /// Reads data.
    GetData {
        /// Of the znode.
        path: Cow<'a, str>,
    },
    /// Lists children.
    GetChildren {
        /// Of the znode.
        path: Cow<'a, str>,
    },
}

/// The header before each operation and each result: type, "done", error.
const HEADER_SIZE: usize = 9;

impl<'a> MultiOp<'a> {
    pub(crate) fn decode_writes(reader: &mut Reader<'a>) -> Result<Vec<MultiOp<'a>>, DecodeError> {
        Self::decode_list(reader, |op, reader| {
            Ok(match op {
                OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                    MultiOp::Create(Create::decode(op, reader)?)
                }
                OpCode::Delete => MultiOp::Delete { path: reader.required_string()?, version: reader.int()? },
                OpCode::SetData => MultiOp::SetData {
                    path: reader.required_string()?,
                    data: reader.buffer()?,
                    version: reader.int()?,
                },
                OpCode::Check => MultiOp::Check { path: reader.required_string()?, version: reader.int()? },
                other => return Err(DecodeError::BadValue(other.to_wire())),
            })
        })
    }

    pub(crate) fn decode_reads(reader: &mut Reader<'a>) -> Result<Vec<MultiOp<'a>>, DecodeError> {
        Self::decode_list(reader, |op, reader| {
            let path = reader.required_string()?;
            reader.boolean()?; // a watch flag, which no server honours here
            Ok(match op {
                OpCode::GetData => MultiOp::GetData { path },
                OpCode::GetChildren => MultiOp::GetChildren { path },
                other => return Err(DecodeError::BadValue(other.to_wire())),
            })
        })
    }

    fn decode_list(
        reader: &mut Reader<'a>,
        decode: impl Fn(OpCode, &mut Reader<'a>) -> Result<MultiOp<'a>, DecodeError>,
    ) -> Result<Vec<MultiOp<'a>>, DecodeError> {
        let mut ops = Vec::new();
        loop {
            let code = reader.int()?;
            let done = reader.boolean()?;
            reader.int()?;
            if done {
                return Ok(ops);
            }
            let op = OpCode::from_wire(code).ok_or(DecodeError::BadValue(code))?;
            ops.push(decode(op, reader)?);
        }
    }

    /// Its operation code.
    pub fn op(&self) -> OpCode {
        match self {
            MultiOp::Create(create) => create.op,
            MultiOp::Delete { .. } => OpCode::Delete,
            MultiOp::SetData { .. } => OpCode::SetData,
            MultiOp::Check { .. } => OpCode::Check,
            MultiOp::GetData { .. } => OpCode::GetData,
            MultiOp::GetChildren { .. } => OpCode::GetChildren,
        }
    }

    pub(crate) fn encode_list(ops: &[MultiOp<'_>], out: &mut Vec<u8>) {
        for op in ops {
            header(op.op().to_wire(), false, -1, out);
            match op {
                MultiOp::Create(create) => create.encode(out),
                MultiOp::Delete { path, version } | MultiOp::Check { path, version } => {
                    out.string(path);
                    out.int(*version);
                }
                MultiOp::SetData { path, data, version } => {
                    out.string(path);
                    out.buffer(*data);
                    out.int(*version);
                }
                MultiOp::GetData { path } | MultiOp::GetChildren { path } => {
                    out.string(path);
                    out.boolean(false);
                }
            }
        }
        header(-1, true, -1, out);
    }
}

fn header(kind: i32, done: bool, error: i32, out: &mut Vec<u8>) {
    out.int(kind);
    out.boolean(done);
    out.int(error);
}

/// The answer to one operation of a multi or multiRead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiResult<'a> {
    /// Created.
    Create {
        /// Under which path, its number included.
        path: Cow<'a, str>,
    },
    /// Created, with its stat.
    Create2 {
        /// Under which path, its number included.
        path: Cow<'a, str>,
        /// How it is now.
        stat: Stat,
    },
    /// Deleted.
    Delete,
    /// Set.
    SetData {
        /// How it is now.
        stat: Stat,
    },
    /// The version is right.
    Check,
    /// Read.
    GetData {
        /// The data.
        data: Option<&'a [u8]>,
        /// How it is now.
        stat: Stat,
    },
    /// Listed.
    GetChildren {
        /// The names of the children.
        names: Vec<Cow<'a, str>>,
    },
    /// `None` stands for code 0: an operation before the one that failed.
    Error(Option<ErrorCode>),
}

impl<'a> MultiResult<'a> {
    /// Appends header and body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            MultiResult::Create { path } => {
                header(OpCode::Create.to_wire(), false, 0, out);
                out.string(path);
            }
            MultiResult::Create2 { path, stat } => {
                header(OpCode::Create2.to_wire(), false, 0, out);
                out.string(path);
                stat.encode(out);
            }
            MultiResult::Delete => header(OpCode::Delete.to_wire(), false, 0, out),
            MultiResult::SetData { stat } => {
                header(OpCode::SetData.to_wire(), false, 0, out);
                stat.encode(out);
            }
            MultiResult::Check => header(OpCode::Check.to_wire(), false, 0, out),
            MultiResult::GetData { data, stat } => {
                header(OpCode::GetData.to_wire(), false, 0, out);
                out.buffer(*data);
                stat.encode(out);
            }
            MultiResult::GetChildren { names } => {
                header(OpCode::GetChildren.to_wire(), false, 0, out);
                out.strings(names);
            }
            MultiResult::Error(code) => {
                let code = code.map_or(0, ErrorCode::to_wire);
                header(OpCode::Error.to_wire(), false, code, out);
                out.int(code);
            }
        }
    }

    /// Appends what ends a list of results.
    pub fn encode_end(out: &mut Vec<u8>) {
        header(-1, true, -1, out);
    }

    /// Decodes a whole list of results.
    pub fn decode_list(reader: &mut Reader<'a>) -> Result<Vec<MultiResult<'a>>, DecodeError> {
        let mut results = Vec::new();
        loop {
            if reader.rest().len() < HEADER_SIZE {
                return Err(DecodeError::Truncated);
            }
            let code = reader.int()?;
            let done = reader.boolean()?;
            reader.int()?;
            if done {
                return Ok(results);
            }
            results.push(match OpCode::from_wire(code) {
                Some(OpCode::Create) => MultiResult::Create { path: reader.required_string()? },
                Some(OpCode::Create2) => {
                    MultiResult::Create2 { path: reader.required_string()?, stat: Stat::decode(reader)? }
                }
                Some(OpCode::Delete) => MultiResult::Delete,
                Some(OpCode::SetData) => MultiResult::SetData { stat: Stat::decode(reader)? },
                Some(OpCode::Check) => MultiResult::Check,
                Some(OpCode::GetData) => {
                    MultiResult::GetData { data: reader.buffer()?, stat: Stat::decode(reader)? }
                }
                Some(OpCode::GetChildren) => MultiResult::GetChildren { names: reader.strings()? },
                Some(OpCode::Error) => MultiResult::Error(ErrorCode::from_wire(reader.int()?)),
                _ => return Err(DecodeError::BadValue(code)),
            });
        }
    }
}
