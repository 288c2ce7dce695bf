//! The compact form of values under the seal. It describes nothing: a change to it is a new [format](super::entry).

use uuid::Uuid;

use crate::{
    clock::Timestamp,
    id::{MemberId, OrgId, RoleId, SessionId, StoreId, UserId},
};

/// Something with a compact form.
pub(super) trait Wire: Sized {
    /// Appends it.
    fn write(&self, to: &mut Vec<u8>);

    /// Takes it off the front; nothing if it is not there.
    fn read(from: &mut &[u8]) -> Option<Self>;
}

/// The bytes of `value`.
pub(super) fn write_all<T: Wire>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    value.write(&mut bytes);
    bytes
}

/// The value of `bytes`, if they are one and nothing more.
pub(super) fn read_all<T: Wire>(mut bytes: &[u8]) -> Option<T> {
    let value = T::read(&mut bytes)?;
    bytes.is_empty().then_some(value)
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (chunk, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*chunk)
}

impl Wire for u8 {
    fn write(&self, to: &mut Vec<u8>) {
        to.push(*self);
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        take(from).map(|[byte]| byte)
    }
}

impl Wire for i64 {
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_be_bytes());
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        take(from).map(Self::from_be_bytes)
    }
}

impl Wire for bool {
    fn write(&self, to: &mut Vec<u8>) {
        u8::from(*self).write(to);
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        match u8::read(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// Lengths are four bytes; nothing that is stored comes near that.
fn write_length(length: usize, to: &mut Vec<u8>) {
    to.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn read_length(from: &mut &[u8]) -> Option<usize> {
    take(from).map(u32::from_be_bytes)?.try_into().ok()
}

impl Wire for String {
    fn write(&self, to: &mut Vec<u8>) {
        write_length(self.len(), to);
        to.extend_from_slice(self.as_bytes());
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        let length = read_length(from)?;
        let (text, rest) = from.split_at_checked(length)?;
        *from = rest;
        Self::from_utf8(text.to_vec()).ok()
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn write(&self, to: &mut Vec<u8>) {
        write_length(self.len(), to);
        self.iter().for_each(|item| item.write(to));
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        let length = read_length(from)?;
        (0..length).map(|_| T::read(from)).collect()
    }
}

impl<T: Wire> Wire for Option<T> {
    fn write(&self, to: &mut Vec<u8>) {
        self.is_some().write(to);
        if let Some(value) = self {
            value.write(to);
        }
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        if bool::read(from)? { T::read(from).map(Some) } else { Some(None) }
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn write(&self, to: &mut Vec<u8>) {
        self.0.write(to);
        self.1.write(to);
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        Some((A::read(from)?, B::read(from)?))
    }
}

impl Wire for Timestamp {
    fn write(&self, to: &mut Vec<u8>) {
        self.as_micros().write(to);
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        i64::read(from).map(Self::from_micros)
    }
}

macro_rules! ids {
    ($($name:ty)+) => {$(
        impl Wire for $name {
            fn write(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(self.as_uuid().as_bytes());
            }

            fn read(from: &mut &[u8]) -> Option<Self> {
                take(from).map(|bytes| Uuid::from_bytes(bytes).into())
            }
        }
    )+};
}

ids! { MemberId OrgId RoleId SessionId StoreId UserId }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        type Values = ((i64, bool), (String, (Option<String>, Vec<(u8, Option<Timestamp>)>)));
        let values: Values =
            ((i64::MIN, true), ("näh".into(), (None, vec![(1, None), (2, Some(Timestamp::from_micros(-3)))])));
        assert_eq!(read_all::<Values>(&write_all(&values)), Some(values));
    }

    #[test]
    fn refuses_what_is_cut_off_has_more_or_is_none_of_it() {
        let bytes = write_all(&(7_i64, "text".to_owned()));
        for length in 0..bytes.len() {
            assert_eq!(read_all::<(i64, String)>(&bytes[..length]), None, "{length}");
        }
        assert_eq!(read_all::<(i64, String)>(&[bytes.as_slice(), &[0]].concat()), None);
        assert_eq!(read_all::<bool>(&[2]), None);
        assert_eq!(read_all::<Vec<i64>>(&[0xff; 4]), None, "a length that nothing follows");
    }
}
