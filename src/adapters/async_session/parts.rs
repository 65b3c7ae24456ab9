//! Owns how a `Session` is taken apart and put together, which its own interface has no way to do: through
//! its `Serialize` and `Deserialize`, straight to and from one piece, see `packed`.

use std::fmt;

use async_session::Session;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserialize, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde::ser::{self, Impossible, Serialize};

use super::State;
use crate::adapters::packed::{Packed, Reader, Writer};

/// The field of `Session` that holds its data.
const DATA: &str = "data";

/// Why a session was not as expected: another version of async-session, which cargo keeps out.
#[derive(Debug)]
pub(super) struct Unexpected(String);

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a session of an unexpected form: {}", self.0)
    }
}

impl std::error::Error for Unexpected {}

impl ser::Error for Unexpected {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl de::Error for Unexpected {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Returns a copy of a session's data: how many values there are, and each after its key.
pub(super) fn data(session: &Session) -> Result<Packed, Unexpected> {
    Packed::new(|bytes| session.serialize(Taker(bytes)))
}

/// Reads what [`data`] returned.
pub(super) fn pairs(mut rest: Reader<'_>) -> impl ExactSizeIterator<Item = (&str, &str)> {
    (0..rest.number() as usize).map(move |_| (rest.text(), rest.text()))
}

/// Returns a session that shares nothing with any other.
pub(super) fn assemble(id: String, state: &State) -> async_session::Result<Session> {
    let fields = [Field::Id(id), Field::NoExpiry, Field::Data(state.data.reader())];
    let mut session = Session::deserialize(Fields(fields))?;
    if let Some(expiry) = state.expiry {
        session.set_expiry(expiry);
    }
    Ok(session)
}

/// Writes the data of a session, a map of texts, or a text.
struct Taker<'a>(&'a mut Writer);

impl ser::SerializeStruct for Taker<'_> {
    type Ok = ();
    type Error = Unexpected;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unexpected> {
        if name == DATA { value.serialize(Taker(self.0)) } else { Ok(()) }
    }

    fn end(self) -> Result<(), Unexpected> {
        if self.0.is_empty() { Err(Unexpected("no data".into())) } else { Ok(()) }
    }
}

impl ser::SerializeMap for Taker<'_> {
    type Ok = ();
    type Error = Unexpected;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unexpected> {
        key.serialize(Taker(self.0))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unexpected> {
        value.serialize(Taker(self.0))
    }

    fn end(self) -> Result<(), Unexpected> {
        Ok(())
    }
}

/// Refuses what no session is made of.
macro_rules! refuse {
    ($($method:ident($($type:ty),*);)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<(), Unexpected> {
            Err(Unexpected(stringify!($method).into()))
        })*
    };
}

impl<'a> ser::Serializer for Taker<'a> {
    type Ok = ();
    type Error = Unexpected;
    type SerializeSeq = Impossible<(), Unexpected>;
    type SerializeTuple = Impossible<(), Unexpected>;
    type SerializeTupleStruct = Impossible<(), Unexpected>;
    type SerializeTupleVariant = Impossible<(), Unexpected>;
    type SerializeMap = Taker<'a>;
    type SerializeStruct = Taker<'a>;
    type SerializeStructVariant = Impossible<(), Unexpected>;

    fn serialize_str(self, text: &str) -> Result<(), Unexpected> {
        self.0.text(text);
        Ok(())
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self, Unexpected> {
        let len = len.ok_or_else(|| Unexpected("a map that cannot tell its length".into()))?;
        self.0.number(len as u64);
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Unexpected> {
        Ok(self)
    }

    refuse! {
        serialize_bool(bool); serialize_char(char); serialize_bytes(&[u8]);
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
        serialize_f32(f32); serialize_f64(f64);
        serialize_none(); serialize_unit(); serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Unexpected> {
        Err(Unexpected("serialize_some".into()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unexpected> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Unexpected> {
        Err(Unexpected("serialize_newtype_variant".into()))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Unexpected> {
        Err(Unexpected("serialize_seq".into()))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unexpected> {
        Err(Unexpected("serialize_tuple".into()))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Unexpected> {
        Err(Unexpected("serialize_tuple_struct".into()))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unexpected> {
        Err(Unexpected("serialize_tuple_variant".into()))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unexpected> {
        Err(Unexpected("serialize_struct_variant".into()))
    }
}

/// The fields of a session, in their order.
enum Field<'a> {
    Id(String),
    /// Set afterwards: a date would have to be written as text and read again.
    NoExpiry,
    Data(Reader<'a>),
}

struct Fields<'a>([Field<'a>; 3]);

impl<'de> de::Deserializer<'de> for Fields<'_> {
    type Error = Unexpected;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unexpected> {
        visitor.visit_seq(SeqDeserializer::new(self.0.into_iter()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'a> IntoDeserializer<'_, Unexpected> for Field<'a> {
    type Deserializer = Field<'a>;

    fn into_deserializer(self) -> Field<'a> {
        self
    }
}

impl<'de> de::Deserializer<'de> for Field<'_> {
    type Error = Unexpected;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unexpected> {
        match self {
            Field::Id(id) => visitor.visit_string(id),
            Field::NoExpiry => visitor.visit_none(),
            Field::Data(mut rest) => {
                let len = rest.number();
                let copies = (0..len as usize).map(|_| (rest.string(), rest.string()));
                visitor.visit_map(MapDeserializer::new(copies))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
