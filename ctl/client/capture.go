package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"vtepd/ctl/api"
	"vtepd/dataplane/pcapng"
)

// Capture writes the frames that a spec selects to w, as pcapng and never a part of a block, until ctx ends or there are as many as it asks for. The first write comes
// when frames are captured. What was written counts also where there is an error: that of w, or one that wraps io.ErrUnexpectedEOF when vtepd stopped.
func (c *Client) Capture(ctx context.Context, s api.CaptureSpec, w io.Writer) (out api.Captured, err error) {
	q := params{}
	q.text("port", s.Port)
	q.text("peer", s.Peer)
	q.number("vni", s.VNI)
	q.text("dir", s.Dir)
	q.flag("drops", s.Drops)
	q.number("snaplen", s.Snaplen)
	q.number("count", s.Count)
	resp, err := c.do(ctx, http.MethodGet, "/v1/capture", q, nil)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	in, to := pcapng.NewScanner(resp.Body), bufio.NewWriter(w)
	lost := make(map[uint32]uint64) // by interface: each says what it came to so far
	for {
		b, err := in.Next()
		if err != nil {
			return out, c.captureEnd(ctx, err, s, out, to.Flush())
		}
		if _, err := to.Write(b); err != nil {
			return out, err
		}
		if b.Type() == pcapng.TypePacket {
			out.Frames++
		}
		if st, ok := b.Statistics(); ok {
			out.Lost += st.Dropped - lost[st.Interface]
			lost[st.Interface] = st.Dropped
		}
		if in.Buffered() {
			continue
		}
		if err := to.Flush(); err != nil {
			return out, err
		}
	}
}

// captureEnd says why a capture ended: nil where that was asked for.
func (c *Client) captureEnd(ctx context.Context, err error, s api.CaptureSpec, out api.Captured, flush error) error {
	switch {
	case flush != nil:
		return flush
	case ctx.Err() != nil, err == io.EOF && s.Count != 0 && out.Frames == uint64(s.Count):
		return nil
	case errors.Is(err, pcapng.ErrNoBlock):
		return fmt.Errorf("capture: the answer cannot be understood: %w", err)
	}
	return fmt.Errorf("capture: %w", io.ErrUnexpectedEOF)
}
