package io.asyncflow.internal;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;

/** Puts random request ids where they are missing: they make a call safe to be repeated. */
public final class RequestIds {
    private RequestIds() {}

    /** A random id (UUID 7): those that follow each other in time stand side by side. */
    public static String random() {
        ThreadLocalRandom random = ThreadLocalRandom.current();
        long high = System.currentTimeMillis() << 16 | 0x7000 | random.nextLong() & 0x0fff;
        long low = random.nextLong() & 0x3fff_ffff_ffff_ffffL | 0x8000_0000_0000_0000L;
        return new UUID(high, low).toString();
    }

    /** Whether a message, or each of its `requests`, has a place for one. */
    public static boolean has(Message message) {
        if (idOf(message) != null) {
            return true;
        }
        FieldDescriptor requests = requestsOf(message);
        return requests != null;
    }

    /** The message with an id wherever one is missing. */
    @SuppressWarnings("unchecked") // a builder builds its own message
    public static <M extends Message> M fill(M message) {
        FieldDescriptor id = idOf(message);
        if (id != null) {
            return message.getField(id).equals("")
                    ? (M) message.toBuilder().setField(id, random()).build()
                    : message;
        }
        FieldDescriptor requests = requestsOf(message);
        if (requests == null) {
            return message;
        }
        Message.Builder filled = message.toBuilder();
        for (int i = 0; i < message.getRepeatedFieldCount(requests); i++) {
            Message one = (Message) message.getRepeatedField(requests, i);
            filled.setRepeatedField(requests, i, fill(one));
        }
        return (M) filled.build();
    }

    private static FieldDescriptor idOf(Message message) {
        FieldDescriptor field = message.getDescriptorForType().findFieldByName("request_id");
        boolean isId = field != null && !field.isRepeated()
                && field.getJavaType() == FieldDescriptor.JavaType.STRING;
        return isId ? field : null;
    }

    private static FieldDescriptor requestsOf(Message message) {
        FieldDescriptor field = message.getDescriptorForType().findFieldByName("requests");
        boolean isList = field != null && field.isRepeated()
                && field.getJavaType() == FieldDescriptor.JavaType.MESSAGE
                && field.getMessageType().findFieldByName("request_id") != null;
        return isList ? field : null;
    }
}
