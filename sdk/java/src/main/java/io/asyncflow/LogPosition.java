package io.asyncflow;

import io.asyncflow.v1.StreamTaskLogsResponse;

/** Up to where a log was given out. */
final class LogPosition {
    private int attempt;
    private long offset;

    boolean isAtStart() {
        return attempt == 0 && offset == 0;
    }

    /** Cuts off what lies before the position and moves it on; null when nothing is left. */
    StreamTaskLogsResponse unseen(StreamTaskLogsResponse chunk) {
        long end = chunk.getOffset() + chunk.getData().size();
        boolean isSame = chunk.getAttempt() == attempt;
        if (chunk.getAttempt() < attempt || isSame && end <= offset) {
            return null;
        }
        StreamTaskLogsResponse fresh = chunk;
        if (isSame && chunk.getOffset() < offset) {
            int known = (int) (offset - chunk.getOffset());
            fresh = chunk.toBuilder().setData(chunk.getData().substring(known)).setOffset(offset)
                    .build();
        }
        attempt = chunk.getAttempt();
        offset = end;
        return fresh;
    }
}
