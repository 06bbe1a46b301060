// Package cite is the citation of a document by an answer.
package cite

import "github.com/google/uuid"

// Citation points from an answer to the passage it rests on. Start and End are offsets, in Unicode code points,
// into the document's extracted text; Quote is exactly that passage.
type Citation struct {
	DocumentID uuid.UUID  `json:"documentId"`
	ChunkID    *uuid.UUID `json:"chunkId,omitempty"`
	Start      int        `json:"start"`
	End        int        `json:"end"`
	Quote      string     `json:"quote"`
	Page       *int       `json:"page,omitempty"`
}
