use super::store::{Room, Rows};
use super::table::{Refused, Table};
use crate::data::table::Columns;
use std::path::Path;

/// Why a golden file is not read where so many bytes may come.
fn refused(name: &str, columns: &Columns, room: Room) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parquet").join(name);
    let mut rows = Rows::new(String::new(), room).unwrap();
    let read = Table::open(&path, columns, true).and_then(|table| table.copy(&mut rows, &|_| Ok(())));
    match read {
        Ok(_) => None,
        Err(Refused::Damaged(what) | Refused::Other(what)) => Some(what),
    }
}

#[test]
fn images_and_texts_are_bounded_whatever_a_file_holds() {
    let plain = Columns::GUESSED;
    let whole = Columns {
        path: Some("picture".into()),
        label: Some("kind".into()),
        groups: Some("id".into()),
        ..Columns::GUESSED
    };
    // Twelve labels by names, eight lists, thirteen texts with a group each.
    for (name, columns, texts) in [
        ("names.parquet", &plain, 4 * (10 + 3 + 3)),
        ("multi.parquet", &plain, 5 + 3 + 3 + 3 + 3 + 5 + 3 + 3 + 3),
        ("columns.parquet", &whole, 6 * 4 + 7 * 5 + 10 + 4 * 2),
    ] {
        let room = Room { images: 1 << 20, texts };
        assert_eq!(refused(name, columns, room), None, "{name}");
        let why = refused(name, columns, Room { texts: texts - 1, ..room }).unwrap();
        assert!(why.contains("its labels, splits and groups are more than"), "{name}: {why}");
        let why = refused(name, columns, Room { images: 600, ..room }).unwrap();
        assert!(why.contains("its images are far larger than the file"), "{name}: {why}");
    }
}
