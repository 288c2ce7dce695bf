{changes_index}
