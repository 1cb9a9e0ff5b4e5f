package stargus

// Operations of changes. A newer server may have others, of which a mirror makes one of these.
const (
	OpAdd    = "add"
	OpChange = "change"
	OpDelete = "delete"
	// OpReset stands for more changes than could wait: look at the whole mirror.
	OpReset = "reset"
)

// ReasonRefused is the reason of a change by which an optimistic write is taken back.
const ReasonRefused = "refused"

// Change is one difference between what a mirror showed and what it shows now.
type Change struct {
	// Op is OpAdd, OpChange, OpDelete or OpReset.
	Op  string
	Key string
	// Changed has the names of the attributes that are different now, and Removed those of them that are gone.
	Changed, Removed []string
	// Item is what the mirror shows now, nil where there is none, and Previous what it showed before. Those of a sparse mirror
	// have no attributes.
	Item, Previous *Item
	// Reason is why, where something else than a write did it: entered, left, denied, expired, refused, or what a newer server says.
	Reason string
	// Revision is that of the commit.
	Revision int64
}

// CommitChange is one item's change in a commit, as the server told it.
type CommitChange struct {
	// Op is add, change or delete; a newer server may know others.
	Op         string   `json:"op"`
	Collection string   `json:"collection"`
	Key        string   `json:"key"`
	Changed    []string `json:"changed"`
	Removed    []string `json:"removed"`
	// Attributes are those that were set, all of them with values full, nil with values none.
	Attributes map[string]any `json:"attributes"`
	// Previous are the former values of what changed, with values full.
	Previous map[string]any `json:"previous,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	// Revision is that of the item where it isn't the commit's own, nil otherwise: where several commits were joined into one, or a
	// change of policy lets an item in that was there before.
	Revision *int64 `json:"revision,omitempty"`
}

// itemRevision is the revision that the item has after the change.
func (c *CommitChange) itemRevision(commit int64) int64 {
	if c.Revision != nil {
		return *c.Revision
	}
	return commit
}

// checkRevisions refuses what no item of the commit can have.
func checkRevisions(changes []CommitChange, commit int64) error {
	for i := range changes {
		if is := changes[i].Revision; is != nil && (*is < 1 || *is > commit) {
			return &Error{Code: CodeProtocolError, Detail: "a change of the commit has a revision that its item can't have"}
		}
	}
	return nil
}
