package io.asyncflow;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.Status;
import io.asyncflow.internal.Settings;
import io.asyncflow.v1.Content;
import io.asyncflow.v1.TaskError;
import io.grpc.protobuf.StatusProto;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ErrorsTest {
    private static final Status FULL = Status.newBuilder().setCode(3).setMessage("bad fields")
            .addDetails(Any.pack(ErrorInfo.newBuilder().setReason("INVALID_FIELDS")
                    .putMetadata("count", "1").build()))
            .addDetails(Any.pack(BadRequest.newBuilder().addFieldViolations(
                    BadRequest.FieldViolation.newBuilder().setField("task.name")
                            .setDescription("too long")).build()))
            .build();

    @Test
    void anErrorTellsAllItsDetails() {
        check(AsyncflowException.of(StatusProto.toStatusRuntimeException(FULL)));
    }

    @Test
    void theErrorOfOneTaskOfManyIsTheSame() {
        check(AsyncflowException.of(TaskError.newBuilder().setCode(3).setMessage("bad fields")
                .setStatus(FULL.toByteString()).build()));
    }

    private static void check(AsyncflowException told) {
        assertEquals(io.grpc.Status.Code.INVALID_ARGUMENT, told.code());
        assertEquals("INVALID_FIELDS", told.reason());
        assertEquals(List.of(new Violation("task.name", "too long")), told.violations());
        assertEquals(Map.of("count", "1"), told.metadata());
        assertEquals("bad fields", told.description());
        assertEquals("bad fields (INVALID_FIELDS)\n  task.name: too long", told.getMessage());
        assertFalse(told.isRetryable());
    }

    @Test
    void settingsComeFromTheEnvironment() {
        Settings made = Settings.of(null, null, null, null, Map.of(
                "ASYNCFLOW_BROKER", "https://broker.example", "ASYNCFLOW_TOKEN", " secret\n"));
        assertEquals(new Settings("broker.example:443", true, "secret", null), made);
        assertEquals("127.0.0.1:7070", Settings.of(null, null, null, null, Map.of()).target());
        assertEquals("other:1", Settings.of("http://other:1", "t", null, null,
                Map.of("ASYNCFLOW_BROKER", "http://no:2")).target());
        assertEquals("[::1]:7070",
                Settings.of("http://[::1]:7070/", null, null, null, Map.of()).target());
    }

    @Test
    void whatCannotBeUsedIsRefusedWithItsValue() {
        for (String wrong : List.of("127.0.0.1:7070", "ftp://x", "http://", "http://a/b", "::")) {
            var told = assertThrows(IllegalArgumentException.class,
                    () -> Settings.of(wrong, null, null, null, Map.of()));
            assertTrue(told.getMessage().contains(wrong), told.getMessage());
        }
        assertThrows(IllegalArgumentException.class,
                () -> Settings.of(null, "a\nb", null, null, Map.of()));
        assertThrows(IllegalArgumentException.class,
                () -> Settings.of(null, null, Path.of("/not/there"), null, Map.of()));
    }

    @Test
    void contentsAreReadAsWhatTheyAre() {
        assertEquals("ü☂", Contents.read(Contents.json("ü☂"), String.class));
        assertEquals(null, Contents.read(Content.getDefaultInstance(), String.class));
        Content text = Contents.json(1).toBuilder().setContentType("text/plain").build();
        assertThrows(IllegalArgumentException.class, () -> Contents.read(text, Integer.class));
        assertThrows(IllegalArgumentException.class,
                () -> Contents.read(Contents.json("x"), Integer.class));
    }
}
