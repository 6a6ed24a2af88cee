package io.asyncflow.worker;

import io.asyncflow.v1.Lease;

/** A lease without what gRPC puts around it. */
record Key(String taskId, int attempt) {
    static Key of(Lease lease) {
        return new Key(lease.getTaskId(), lease.getAttempt());
    }

    Lease lease() {
        return Lease.newBuilder().setTaskId(taskId).setAttempt(attempt).build();
    }

    @Override
    public String toString() {
        return "task " + taskId + ", attempt " + attempt;
    }
}
