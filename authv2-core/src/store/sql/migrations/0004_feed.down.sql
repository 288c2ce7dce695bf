{drop_changes_index}
