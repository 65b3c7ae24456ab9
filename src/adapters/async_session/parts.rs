//! Owns how a `Session` is taken apart and put together, which its own interface has no way to do: through
//! its `Serialize` and `Deserialize`, straight to and from a map, with no text in between.

use std::collections::HashMap;
use std::fmt;

use async_session::Session;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserialize, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde::ser::{self, Impossible, Serialize};

use super::State;

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

/// Returns a copy of a session's data.
pub(super) fn data(session: &Session) -> async_session::Result<HashMap<String, String>> {
    match session.serialize(Taker)? {
        Taken::Map(data) => Ok(data),
        Taken::Text(_) => Err(Unexpected("no map".into()).into()),
    }
}

/// Returns a session that shares nothing with any other.
pub(super) fn assemble(id: String, state: &State) -> async_session::Result<Session> {
    let fields = [Field::Id(id), Field::NoExpiry, Field::Data(&state.data)];
    let mut session = Session::deserialize(Fields(fields))?;
    if let Some(expiry) = state.expiry {
        session.set_expiry(expiry);
    }
    Ok(session)
}

/// What can be taken from a session.
pub(super) enum Taken {
    Text(String),
    Map(HashMap<String, String>),
}

/// Takes the data of a session, a map of texts, or a text.
struct Taker;

/// Takes one field of a struct.
struct FieldTaker(Option<Taken>);

/// Takes a map of texts.
struct MapTaker {
    map: HashMap<String, String>,
    key: String,
}

fn text(value: &(impl Serialize + ?Sized)) -> Result<String, Unexpected> {
    match value.serialize(Taker)? {
        Taken::Text(text) => Ok(text),
        Taken::Map(_) => Err(Unexpected("no text".into())),
    }
}

impl ser::SerializeStruct for FieldTaker {
    type Ok = Taken;
    type Error = Unexpected;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unexpected> {
        if name == DATA {
            self.0 = Some(value.serialize(Taker)?);
        }
        Ok(())
    }

    fn end(self) -> Result<Taken, Unexpected> {
        self.0.ok_or_else(|| Unexpected("no data".into()))
    }
}

impl ser::SerializeMap for MapTaker {
    type Ok = Taken;
    type Error = Unexpected;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unexpected> {
        self.key = text(key)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unexpected> {
        self.map.insert(std::mem::take(&mut self.key), text(value)?);
        Ok(())
    }

    fn end(self) -> Result<Taken, Unexpected> {
        Ok(Taken::Map(self.map))
    }
}

/// Refuses what no session is made of.
macro_rules! refuse {
    ($($method:ident($($type:ty),*);)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<Taken, Unexpected> {
            Err(Unexpected(stringify!($method).into()))
        })*
    };
}

impl ser::Serializer for Taker {
    type Ok = Taken;
    type Error = Unexpected;
    type SerializeSeq = Impossible<Taken, Unexpected>;
    type SerializeTuple = Impossible<Taken, Unexpected>;
    type SerializeTupleStruct = Impossible<Taken, Unexpected>;
    type SerializeTupleVariant = Impossible<Taken, Unexpected>;
    type SerializeMap = MapTaker;
    type SerializeStruct = FieldTaker;
    type SerializeStructVariant = Impossible<Taken, Unexpected>;

    fn serialize_str(self, text: &str) -> Result<Taken, Unexpected> {
        Ok(Taken::Text(text.to_owned()))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<MapTaker, Unexpected> {
        let map = HashMap::with_capacity(len.unwrap_or_default());
        Ok(MapTaker { map, key: String::new() })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<FieldTaker, Unexpected> {
        Ok(FieldTaker(None))
    }

    refuse! {
        serialize_bool(bool); serialize_char(char); serialize_bytes(&[u8]);
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
        serialize_f32(f32); serialize_f64(f64);
        serialize_none(); serialize_unit(); serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Taken, Unexpected> {
        Err(Unexpected("serialize_some".into()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Taken, Unexpected> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Taken, Unexpected> {
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
    Data(&'a HashMap<String, String>),
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
            Field::Data(data) => {
                let copies = data.iter().map(|(key, value)| (key.clone(), value.clone()));
                visitor.visit_map(MapDeserializer::new(copies))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
