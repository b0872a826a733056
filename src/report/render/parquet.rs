//! A report as Parquet: a flat table in one row group.
//!
//! Names are as the events have them. A key that an event lacks is null, and the column `missing` says why, or that
//! the row is the total. Money is DECIMAL(38, 18).

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArrayType, DataType, FixedLenByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue as Note;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::fields::{Cell, Field, FieldKind};
use super::json::MISSING;
use super::table::TOTAL;
use crate::report::error::ReportError;
use crate::report::key_value::KeyValue;
use crate::report::pricing::Amount;
use crate::report::sums::ReportSums;
use crate::report::tally::Report;

/// Digits of a decimal, and those behind the point: as many as 16 bytes hold, and an [`Amount`] has.
const PRECISION: i32 = 38;
const SCALE: i32 = 18;

/// Bytes of a decimal.
const DECIMAL_BYTES: i32 = 16;

/// Writes the texts, numbers or decimals of a column, and nulls.
type ParquetResult = Result<(), ParquetError>;

impl Report {
    /// The file.
    pub(super) fn parquet(&self, total: bool) -> Result<Vec<u8>, ReportError> {
        self.fits_parquet()?;
        let mut out = Vec::new();
        self.write_parquet(total, &mut out).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(out)
    }

    /// Its numbers fit; no line has more than the total.
    fn fits_parquet(&self) -> Result<(), ReportError> {
        let numbers = ReportSums::columns().zip(self.total.values());
        let too_large = numbers.into_iter().find(|(_, number)| i64::try_from(*number).is_err());
        let costs = self.total.cost().into_iter().chain(self.total.cost_2());
        let cost = costs
            .max_by_key(|cost| cost.whole())
            .filter(|cost| cost.whole() >= 10_u128.pow(PRECISION.unsigned_abs()));
        match (too_large, cost) {
            (Some((column, number)), _) => {
                Err(ReportError::TooLarge(format!("{column} {number}: Parquet holds 2^63 - 1")))
            }
            (None, Some(cost)) => Err(ReportError::TooLarge(format!("cost {cost}: Parquet holds 38 digits"))),
            (None, None) => Ok(()),
        }
    }

    fn write_parquet(&self, total: bool, out: &mut Vec<u8>) -> ParquetResult {
        let mut fields = self.fields();
        let keys_end = self.by.len();
        let mut types =
            fields.iter().map(|field| type_of(field).map(Arc::new)).collect::<Result<Vec<TypePtr>, _>>()?;
        types.insert(keys_end, Arc::new(text_type(MISSING)?));
        let schema = Type::group_type_builder("report").with_fields(types).build()?;
        let properties = WriterProperties::builder()
            .set_created_by(concat!("tokenweir ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(Some(self.notes()));
        let mut file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties.build()))?;
        let mut rows = file.next_row_group()?;
        let behind = fields.split_off(keys_end);
        fields.iter().try_for_each(|field| self.write_column(field.kind, total, &mut rows))?;
        self.write_missing(total, &mut rows)?;
        behind.iter().try_for_each(|field| self.write_column(field.kind, total, &mut rows))?;
        rows.close()?;
        file.close()?;
        Ok(())
    }

    /// Returns notes that say what the whole file is about.
    fn notes(&self) -> Vec<Note> {
        let time = |time: Option<jiff::Timestamp>| time.map(|time| time.to_string());
        let zone = Some(self.calendar.zone_name().to_owned());
        let range = [("from", time(self.from)), ("to", time(self.to)), ("time_zone", zone)];
        let versions = self.cost.versions.named();
        let versions = versions.map(|(name, version)| (format!("{name}_version"), Some(version.to_owned())));
        let notes = range.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(versions);
        notes.map(|(name, value)| Note::new(format!("tokenweir.{name}"), value)).collect()
    }

    fn write_column<W: Write + Send>(
        &self,
        kind: FieldKind,
        total: bool,
        rows: &mut SerializedRowGroupWriter<'_, W>,
    ) -> ParquetResult {
        let cells = self.lines_and(total).map(|(keys, sums)| self.cell(kind, keys, sums));
        match kind {
            FieldKind::Key(_) | FieldKind::Currency | FieldKind::Currency2 => write::<ByteArrayType, _>(
                rows,
                cells.map(|cell| text(cell).map(|text| text.into_bytes().into())),
                true,
            ),
            FieldKind::Number(_) | FieldKind::UnpricedCalls => {
                write::<Int64Type, _>(rows, cells.map(|cell| Some(number(cell))), false)
            }
            FieldKind::Cost | FieldKind::Cost2 => {
                write::<FixedLenByteArrayType, _>(rows, cells.map(|cell| decimal(cell).map(Into::into)), true)
            }
        }
    }

    fn write_missing<W: Write + Send>(
        &self,
        total: bool,
        rows: &mut SerializedRowGroupWriter<'_, W>,
    ) -> ParquetResult {
        let why = |keys: &[KeyValue]| {
            let missing = self.by.iter().zip(keys).filter_map(|(key, value)| Some((key, value.missing()?)));
            missing
                .map(|(key, missing)| format!("{key}: {}", missing.as_str()))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let lines = self.lines_and(total).enumerate();
        let cells =
            lines.map(|(at, (keys, _))| if at < self.lines.len() { why(keys) } else { TOTAL.to_owned() });
        write::<ByteArrayType, _>(
            rows,
            cells.map(|text| (!text.is_empty()).then(|| text.into_bytes().into())),
            true,
        )
    }
}

fn type_of(field: &Field) -> Result<Type, ParquetError> {
    match field.kind {
        FieldKind::Key(_) | FieldKind::Currency | FieldKind::Currency2 => text_type(&field.name),
        FieldKind::Number(_) | FieldKind::UnpricedCalls => {
            Type::primitive_type_builder(&field.name, PhysicalType::INT64)
                .with_repetition(Repetition::REQUIRED)
                .build()
        }
        FieldKind::Cost | FieldKind::Cost2 => {
            Type::primitive_type_builder(&field.name, PhysicalType::FIXED_LEN_BYTE_ARRAY)
                .with_repetition(Repetition::OPTIONAL)
                .with_length(DECIMAL_BYTES)
                .with_precision(PRECISION)
                .with_scale(SCALE)
                .with_logical_type(Some(LogicalType::decimal(SCALE, PRECISION)))
                .build()
        }
    }
}

fn text_type(name: &str) -> Result<Type, ParquetError> {
    Type::primitive_type_builder(name, PhysicalType::BYTE_ARRAY)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(Some(LogicalType::String))
        .build()
}

/// Writes the next column.
fn write<T: DataType, W: Write + Send>(
    rows: &mut SerializedRowGroupWriter<'_, W>,
    values: impl Iterator<Item = Option<T::T>>,
    nullable: bool,
) -> ParquetResult {
    let Some(mut column) = rows.next_column()? else {
        return Err(ParquetError::General("there are more columns than the schema has".to_owned()));
    };
    let (mut levels, mut known) = (Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(value.is_some()));
        known.extend(value);
    }
    column.typed::<T>().write_batch(&known, nullable.then_some(levels.as_slice()), None)?;
    column.close()
}

fn text(cell: Cell<'_>) -> Option<String> {
    match cell {
        Cell::Key(key) => key?.value().map(|value| value.into_owned()),
        Cell::Word(word) => Some(word.to_owned()),
        Cell::Number(_) | Cell::Money(_) => None,
    }
}

fn number(cell: Cell<'_>) -> i64 {
    match cell {
        Cell::Number(number) => i64::try_from(number).unwrap_or(i64::MAX),
        _ => 0,
    }
}

/// The amount in 10^-18, big-endian.
fn decimal(cell: Cell<'_>) -> Option<Vec<u8>> {
    match cell {
        Cell::Money(amount) => amount.map(Amount::whole).map(|whole| whole.to_be_bytes().to_vec()),
        _ => None,
    }
}
