//! One page of rows with the number of all of them, in one statement and so from one snapshot.

use domain::ports::StoreError;
use domain::{Page, PageRequest, Timeline};
use sea_orm::sea_query::{Alias, Asterisk, Expr, Func, Order, Query, SelectStatement};
use sea_orm::{ConnectionTrait, EntityTrait, IdenStatic, Iterable, JoinType, QueryResult};

use crate::access::engine::Engine;
use crate::access::error::failed;
use crate::access::operation::Reading;
use crate::access::timeline;

/// Rows to be read by the page. Their columns have prefixed names, so that those of two tables can
/// stand beside each other.
pub(crate) struct PagedQuery {
    /// What is counted: tables and conditions, without columns.
    pub(crate) matching: SelectStatement,
    /// What is read of it: the same tables and conditions, with columns.
    pub(crate) rows: SelectStatement,
    /// By which of the prefixed columns.
    pub(crate) order: Vec<(&'static str, Order)>,
}

/// Reads one page.
pub(crate) async fn read<T>(
    reading: &Reading,
    query: PagedQuery,
    page: PageRequest,
    parse: impl Fn(&QueryResult, Timeline) -> Result<T, StoreError>,
) -> Result<Page<T>, StoreError> {
    let results = reading.db.query_all(&statement(reading.engine, query, page)).await.map_err(failed)?;
    let mut rows = Vec::with_capacity(results.len());
    let mut total = 0;
    for result in &results {
        total = result.try_get::<i64>("", "total").map_err(failed)?;
        let timeline = reading.sql.timeline_of(result)?;
        // Past the last row there still is the total.
        if result.try_get::<Option<i32>>("", "present").map_err(failed)?.is_some() {
            rows.push(parse(result, timeline)?);
        }
    }
    let total = u64::try_from(total).map_err(StoreError::fault)?;
    Ok(Page { rows, total })
}

/// Adds every column of an entity, its name prefixed.
pub(crate) fn columns<E: EntityTrait>(select: &mut SelectStatement, prefix: &str) {
    for column in E::Column::iter() {
        select.expr_as(Expr::col((E::default().table_name(), column)), format!("{prefix}{}", column.as_str()));
    }
}

fn statement(engine: Engine, query: PagedQuery, page: PageRequest) -> SelectStatement {
    let PagedQuery { mut matching, mut rows, order } = query;
    matching.expr_as(Func::count(Expr::col(Asterisk)), "total");
    rows.expr_as(Expr::cust("1"), "present");
    rows.limit(u64::from(page.size)).offset(page.offset());
    let mut paged = Query::select();
    for (column, direction) in order {
        rows.order_by(Alias::new(column), direction.clone());
        paged.order_by((Alias::new("page"), Alias::new(column)), direction);
    }
    paged.expr_as(Expr::cust(engine.timeline()), timeline::COLUMN);
    paged.column(("counted", Asterisk)).column(("page", Asterisk)).from_subquery(matching, "counted").join_subquery(
        JoinType::LeftJoin,
        rows,
        "page",
        Expr::cust("1 = 1"),
    );
    paged
}
