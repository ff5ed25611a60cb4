//! A text of a column.

use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, QueryResult, TryGetError, TryGetable, Value};

/// A text of a column. `SQLite` takes any bytes for one, as from a script in Latin-1: what is no UTF-8 in them is read as
/// U+FFFD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        text.0.into()
    }
}

impl TryGetable for Text {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let text = String::try_get_by(row, index).or_else(|error| match error {
            TryGetError::Null(_) => Err(error),
            TryGetError::DbErr(_) => {
                let bytes = Vec::<u8>::try_get_by(row, index)?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
        })?;
        Ok(Self(text))
    }
}

impl ValueType for Text {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        <String as ValueType>::try_from(value).map(Self)
    }

    fn type_name() -> String {
        "Text".to_owned()
    }

    fn array_type() -> ArrayType {
        <String as ValueType>::array_type()
    }

    fn column_type() -> ColumnType {
        <String as ValueType>::column_type()
    }
}

impl Nullable for Text {
    fn null() -> Value {
        <String as Nullable>::null()
    }
}
