//! Several operations in one request.

use bytes::Bytes;

use super::create::{CreateOptions, Created};
use super::data::{AsData, AsPath, Data};
use super::error::Error;
use super::ops::Coordinator;
use super::pending::Pending;
use super::session::{Reply, Then};
use super::watch::inside;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::zk::{Create, ErrorCode, MultiOp, MultiResult, OpCode, Request, Stat};

/// A transaction in the making: all of its operations are executed, at one zxid, or none.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// use client::zk::CreateMode;
/// zk.multi().check("/epoch", 7).create("/jobs/1", b"x", CreateMode::Persistent).set("/count", b"1", 0).commit().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing happens before commit"]
pub struct Multi<'z> {
    zk: &'z Coordinator,
    /// Data is kept apart from the operations, which borrow.
    steps: Vec<Step>,
    /// The first mistake, told at the end.
    error: Option<Error>,
}

#[derive(Debug)]
enum Step {
    Create { path: String, data: Option<Vec<u8>>, options: CreateOptions },
    Delete { path: String, version: i32 },
    Set { path: String, data: Option<Vec<u8>>, version: i32 },
    Check { path: String, version: i32 },
}

/// What one operation of a transaction came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MultiOutcome {
    /// Of a create.
    Created(Created),
    /// Of a delete.
    Deleted,
    /// Of a set: the numbers right after it.
    Set(Stat),
    /// Of a check.
    Checked,
}

impl Coordinator {
    /// Begins a transaction.
    pub fn multi(&self) -> Multi<'_> {
        Multi { zk: self, steps: Vec::new(), error: None }
    }

    /// Begins a read of several znodes at once, all as they are at one zxid.
    pub fn multi_read(&self) -> MultiRead<'_> {
        MultiRead { zk: self, ops: Vec::new(), error: None }
    }
}

impl Multi<'_> {
    fn step(
        mut self,
        path: &(impl AsPath + ?Sized),
        sequential: bool,
        step: impl FnOnce(String) -> Step,
    ) -> Self {
        match self.zk.full_with_suffix(path, sequential) {
            Ok(path) => self.steps.push(step(path.into_owned())),
            Err(error) => {
                let index = self.steps.len();
                self.error.get_or_insert(Error::Transaction { index, error: Box::new(error) });
            }
        }
        self
    }

    /// Creates a znode.
    pub fn create(
        self,
        path: &(impl AsPath + ?Sized),
        data: &(impl AsData + ?Sized),
        options: impl Into<CreateOptions>,
    ) -> Self {
        let (data, options) = (data.field().map(<[u8]>::to_vec), options.into());
        self.step(path, options.mode.is_sequential(), |path| Step::Create { path, data, options })
    }

    /// Deletes a znode.
    pub fn delete(self, path: &(impl AsPath + ?Sized), version: impl Into<Option<i32>>) -> Self {
        let version = version.into().unwrap_or(-1);
        self.step(path, false, |path| Step::Delete { path, version })
    }

    /// Replaces a znode's data.
    pub fn set(
        self,
        path: &(impl AsPath + ?Sized),
        data: &(impl AsData + ?Sized),
        version: impl Into<Option<i32>>,
    ) -> Self {
        let version = version.into().unwrap_or(-1);
        let data = data.field().map(<[u8]>::to_vec);
        self.step(path, false, |path| Step::Set { path, data, version })
    }

    /// Fails the transaction unless the znode exists and has this version.
    pub fn check(self, path: &(impl AsPath + ?Sized), version: impl Into<Option<i32>>) -> Self {
        let version = version.into().unwrap_or(-1);
        self.step(path, false, |path| Step::Check { path, version })
    }

    /// Sends the transaction. The outcomes are in the order of the operations; if one of them fails, nothing was done
    /// and [`Error::Transaction`] says which.
    pub fn commit(self) -> Pending<Vec<MultiOutcome>> {
        if let Some(error) = self.error {
            return Pending::failed(error);
        }
        let ops = self.steps.iter().map(Step::to_wire).collect();
        let chroot = self.zk.chroot.clone();
        let finish = move |result: Result<Reply, Error>| outcomes(&result?.body, &chroot);
        self.zk.submit(&Request::Multi(ops), Then::Nothing, None, finish)
    }
}

impl Step {
    fn to_wire(&self) -> MultiOp<'_> {
        match self {
            Step::Create { path, data, options } => {
                let create: Create<'_> = options.request(path.into(), data.as_deref());
                MultiOp::Create(create)
            }
            Step::Delete { path, version } => MultiOp::Delete { path: path.into(), version: *version },
            Step::Set { path, data, version } => {
                MultiOp::SetData { path: path.into(), data: data.as_deref(), version: *version }
            }
            Step::Check { path, version } => MultiOp::Check { path: path.into(), version: *version },
        }
    }
}

/// A failed transaction has a code for each operation: nothing for those before the one that failed, its own for that one,
/// "not executed" for the rest.
fn outcomes(body: &Bytes, chroot: &str) -> Result<Vec<MultiOutcome>, Error> {
    let results = MultiResult::decode_list(&mut Reader::new(body))?;
    let failure = results.iter().enumerate().find_map(|(index, result)| match result {
        MultiResult::Error(Some(code)) if *code != ErrorCode::RuntimeInconsistency => Some((index, *code)),
        _ => None,
    });
    if let Some((index, code)) = failure {
        return Err(Error::Transaction { index, error: Box::new(code.into()) });
    }
    let outcome = |result| match result {
        MultiResult::Create2 { path, stat } => {
            Ok(MultiOutcome::Created(Created { path: inside(chroot, &path).to_owned(), stat }))
        }
        MultiResult::Delete => Ok(MultiOutcome::Deleted),
        MultiResult::SetData { stat } => Ok(MultiOutcome::Set(stat)),
        MultiResult::Check => Ok(MultiOutcome::Checked),
        MultiResult::Error(code) => Err(code.map_or(Error::SystemError, Error::from)),
        // Nobody asked for these.
        MultiResult::Create { .. } | MultiResult::GetData { .. } | MultiResult::GetChildren { .. } => {
            Err(Error::Protocol(DecodeError::UnknownOperation(OpCode::Multi.to_wire())))
        }
    };
    results.into_iter().map(outcome).collect()
}

/// Several reads in the making.
#[derive(Debug)]
#[must_use = "nothing happens before send"]
pub struct MultiRead<'z> {
    zk: &'z Coordinator,
    ops: Vec<MultiOp<'static>>,
    error: Option<Error>,
}

/// What one read of several came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MultiReadOutcome {
    /// Of a get.
    Data(Data, Stat),
    /// Of children: their names.
    Children(Vec<String>),
}

impl MultiRead<'_> {
    fn op(mut self, path: &(impl AsPath + ?Sized), op: impl FnOnce(String) -> MultiOp<'static>) -> Self {
        match self.zk.full_with_suffix(path, false) {
            Ok(path) => self.ops.push(op(path.into_owned())),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }

    /// Reads a znode's data.
    pub fn get(self, path: &(impl AsPath + ?Sized)) -> Self {
        self.op(path, |path| MultiOp::GetData { path: path.into() })
    }

    /// Reads the names of a znode's children.
    pub fn children(self, path: &(impl AsPath + ?Sized)) -> Self {
        self.op(path, |path| MultiOp::GetChildren { path: path.into() })
    }

    /// Sends the reads. Each has an outcome of its own, in the order in which they were asked for.
    pub fn send(self) -> Pending<Vec<Result<MultiReadOutcome, Error>>> {
        if let Some(error) = self.error {
            return Pending::failed(error);
        }
        self.zk.send(&Request::MultiRead(self.ops), |body| {
            let results = MultiResult::decode_list(&mut Reader::new(body))?;
            results.into_iter().map(|result| read_outcome(result, body)).collect()
        })
    }
}

fn read_outcome(
    result: MultiResult<'_>,
    body: &Bytes,
) -> Result<Result<MultiReadOutcome, Error>, DecodeError> {
    Ok(match result {
        MultiResult::GetData { data, stat } => Ok(MultiReadOutcome::Data(Data::within(body, data), stat)),
        MultiResult::GetChildren { names } => {
            Ok(MultiReadOutcome::Children(names.into_iter().map(|name| name.into_owned()).collect()))
        }
        MultiResult::Error(code) => Err(code.map_or(Error::SystemError, Error::from)),
        _ => return Err(DecodeError::UnknownOperation(OpCode::MultiRead.to_wire())),
    })
}
