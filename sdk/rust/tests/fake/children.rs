//! Tasks that tasks have made.

use asyncflow_sdk::v1::{
    ChildTask, Content, CreateChildTasksRequest, ListChildTasksRequest, ListChildTasksResponse,
    Task,
};

const PAGE: usize = 2;

/// Those that were made, as if each had returned its name; two on a page.
pub fn page(
    made: &[CreateChildTasksRequest],
    request: &ListChildTasksRequest,
) -> ListChildTasksResponse {
    let made = made.iter().filter(|made| made.key == request.key);
    let names: Vec<String> =
        made.flat_map(|made| &made.tasks).map(|task| task.name.clone()).collect();
    let from: usize = request.page_token.parse().unwrap_or(0);
    let child = |(index, name): (usize, &String)| {
        let result = Some(Content { data: name.clone().into(), ..Content::default() });
        let task = Some(Task { name: name.clone(), result, ..Task::default() });
        ChildTask { task, index: index as i32, ..ChildTask::default() }
    };
    let is_last = from + PAGE >= names.len();
    ListChildTasksResponse {
        children: names.iter().enumerate().skip(from).take(PAGE).map(child).collect(),
        next_page_token: if is_last { String::new() } else { (from + PAGE).to_string() },
        ..Default::default()
    }
}
