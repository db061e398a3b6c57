// Made by `basewright types sdk-ts/test/project`, which makes it anew. Edit the project instead.

/** What JSON can say. */
export type Json = string | number | boolean | null | Json[] | { [member: string]: Json }

/** The values of `posts.status`. */
export type PostsStatus = 'draft' | 'review' | 'published'

/** The values of `labels.color`. */
export type LabelsColor = 'gray' | 'red' | 'green' | 'blue'

/** The values of `samples.odd`. */
export type SamplesOdd = 'plain' | 'it\'s' | 'say "hi"' | '`${tick}`' | '*/ end' | 'two\nlines' | 'back\\slash' | 'ünï'

/** The values of `samples.must`. */
export type SamplesMust = 'yes_please' | 'no_thanks'

/** The values of `samples.many_odd`. */
export type SamplesManyOdd = 'a' | 'b'

/** The project, as its secret key sees it. */
export interface Schema {
  collections: {
    profiles: {
      Row: {
        /** uuid of a user, the key */
        id: string
        /** text, unique, 3 to 20 characters, matches ^[a-z0-9_]+$ */
        handle: string
        /** text, at most 80 characters */
        name: string
        /** text, at most 254 characters */
        email: string | null
        /** timestamp */
        created_at: string
        /** timestamp */
        updated_at: string
      }
      New: {
        /** auth.id unless given */
        id?: string
        handle: string
        name: string
        email?: string | null
        /** now() unless given */
        created_at?: string
        /** now() unless given */
        updated_at?: string
      }
      Patch: {
        id?: string
        handle?: string
        name?: string
        email?: string | null
        created_at?: string
        updated_at?: string
      }
      Key: 'id'
      Relations: {
        passports: { to: 'passports'; many: false }
        written: { to: 'posts'; many: true }
        reviewed: { to: 'posts'; many: true }
        comments: { to: 'comments'; many: true }
      }
      Search: false
    }
    passports: {
      Row: {
        /** uuid, the key */
        id: string
        /** uuid of `profiles`, unique */
        holder: string
        /** text */
        number: string
        /** timestamp */
        created_at: string
        /** timestamp */
        updated_at: string
      }
      New: {
        /** a new one unless given */
        id?: string
        holder: string
        number: string
        /** now() unless given */
        created_at?: string
        /** now() unless given */
        updated_at?: string
      }
      Patch: {
        id?: string
        holder?: string
        number?: string
        created_at?: string
        updated_at?: string
      }
      Key: 'id'
      Relations: {
        holder: { to: 'profiles'; many: false }
      }
      Search: false
    }
    posts: {
      Row: {
        /** uuid, the key */
        id: string
        /** text, 1 to 200 characters */
        title: string
        /** text */
        body: string | null
        /** enum */
        status: PostsStatus
        /** uuid of `profiles` */
        author: string
        /** uuid of `profiles` */
        reviewer: string | null
        /** bigint */
        views: number
        /** text[] */
        tags: (string | null)[]
        /** json */
        meta: Json
        /** text */
        notes: string | null
        /** timestamp */
        created_at: string
        /** timestamp */
        updated_at: string
      }
      New: {
        /** a new one unless given */
        id?: string
        title: string
        body?: string | null
        /** "draft" unless given */
        status?: PostsStatus
        /** auth.id unless given */
        author?: string
        reviewer?: string | null
        /** 0 unless given */
        views?: number
        /** [] unless given */
        tags?: (string | null)[]
        /** {} unless given */
        meta?: Json
        notes?: string | null
        /** now() unless given */
        created_at?: string
        /** now() unless given */
        updated_at?: string
      }
      Patch: {
        id?: string
        title?: string
        body?: string | null
        status?: PostsStatus
        author?: string
        reviewer?: string | null
        views?: number
        tags?: (string | null)[]
        meta?: Json
        notes?: string | null
        created_at?: string
        updated_at?: string
      }
      Key: 'id'
      Relations: {
        author: { to: 'profiles'; many: false }
        reviewer: { to: 'profiles'; many: false }
        comments: { to: 'comments'; many: true }
        post_labels: { to: 'post_labels'; many: true }
        labels: { to: 'labels'; many: true }
      }
      Search: true
    }
    comments: {
      Row: {
        /** uuid, the key */
        id: string
        /** uuid of `posts` */
        post: string
        /** uuid of `profiles` */
        author: string | null
        /** uuid of `comments` */
        reply_to: string | null
        /** text, 1 to 2000 characters */
        body: string
        /** timestamp */
        created_at: string
        /** timestamp */
        updated_at: string
      }
      New: {
        /** a new one unless given */
        id?: string
        post: string
        /** auth.id unless given */
        author?: string | null
        reply_to?: string | null
        body: string
        /** now() unless given */
        created_at?: string
        /** now() unless given */
        updated_at?: string
      }
      Patch: {
        id?: string
        post?: string
        author?: string | null
        reply_to?: string | null
        body?: string
        created_at?: string
        updated_at?: string
      }
      Key: 'id'
      Relations: {
        post: { to: 'posts'; many: false }
        author: { to: 'profiles'; many: false }
        reply_to: { to: 'comments'; many: false }
        replies: { to: 'comments'; many: true }
      }
      Search: false
    }
    labels: {
      Row: {
        /** text, the key, at most 30 characters */
        name: string
        /** enum */
        color: LabelsColor
      }
      New: {
        name: string
        /** "gray" unless given */
        color?: LabelsColor
      }
      Patch: {
        name?: string
        color?: LabelsColor
      }
      Key: 'name'
      Relations: {
        post_labels: { to: 'post_labels'; many: true }
        posts: { to: 'posts'; many: true }
      }
      Search: false
    }
    post_labels: {
      Row: {
        /** uuid of `posts`, part of the key */
        post: string
        /** text of `labels`, part of the key */
        label: string
      }
      New: {
        post: string
        label: string
      }
      Patch: {
        post?: string
        label?: string
      }
      Key: 'post' | 'label'
      Relations: {
        post: { to: 'posts'; many: false }
        label: { to: 'labels'; many: false }
      }
      Search: false
    }
    feedback: {
      Row: {
        /** uuid, the key */
        id: string
        /** text, at most 500 characters */
        words: string
        /** integer, 1 to 5 */
        stars: number | null
        /** timestamp */
        created_at: string
        /** timestamp */
        updated_at: string
      }
      New: {
        /** a new one unless given */
        id?: string
        words: string
        stars?: number | null
        /** now() unless given */
        created_at?: string
        /** now() unless given */
        updated_at?: string
      }
      Patch: {
        id?: string
        words?: string
        stars?: number | null
        created_at?: string
        updated_at?: string
      }
      Key: 'id'
      Relations: {}
      Search: false
    }
    ledger: {
      Row: {
        /** uuid, the key */
        id: string
        /** text */
        entry: string
        /** timestamp */
        created_at: string
        /** timestamp */
        updated_at: string
      }
      New: {
        /** a new one unless given */
        id?: string
        entry: string
        /** now() unless given */
        created_at?: string
        /** now() unless given */
        updated_at?: string
      }
      Patch: {
        id?: string
        entry?: string
        created_at?: string
        updated_at?: string
      }
      Key: 'id'
      Relations: {}
      Search: false
    }
    samples: {
      Row: {
        /** integer, the key */
        id: number
        /** text */
        words: string | null
        /** integer, 1 to 9 */
        small: number | null
        /** bigint */
        large: number | null
        /** float */
        rough: number | null
        /** decimal */
        exact: number | null
        /** boolean */
        truth: boolean
        /** uuid */
        uid: string | null
        /** timestamp */
        moment: string | null
        /** date, at least 2000-01-01 */
        day: string | null
        /** time */
        hour: string | null
        /** interval */
        span: string | null
        /** json */
        data: Json
        /** bytes, at most 8 bytes */
        raw: string | null
        /** inet */
        address: string | null
        /** enum */
        odd: SamplesOdd | null
        /** enum */
        must: SamplesMust
        /** text[] */
        many_words: (string | null)[] | null
        /** integer[] */
        many_small: (number | null)[] | null
        /** bigint[] */
        many_large: (number | null)[] | null
        /** float[] */
        many_rough: (number | null)[] | null
        /** decimal[] */
        many_exact: (number | null)[] | null
        /** boolean[] */
        many_truth: (boolean | null)[] | null
        /** uuid[] */
        many_uid: (string | null)[] | null
        /** timestamp[] */
        many_moment: (string | null)[] | null
        /** date[] */
        many_day: (string | null)[] | null
        /** time[] */
        many_hour: (string | null)[] | null
        /** interval[] */
        many_span: (string | null)[] | null
        /** json[] */
        many_data: (Json | null)[] | null
        /** bytes[] */
        many_raw: (string | null)[] | null
        /** inet[] */
        many_address: (string | null)[] | null
        /** enum[] */
        many_odd: (SamplesManyOdd | null)[]
        /** timestamp */
        created_at: string
        /** timestamp */
        updated_at: string
      }
      New: {
        id: number
        words?: string | null
        /** 3 unless given */
        small?: number | null
        large?: number | null
        rough?: number | null
        exact?: number | null
        /** false unless given */
        truth?: boolean
        uid?: string | null
        /** now() unless given */
        moment?: string | null
        day?: string | null
        hour?: string | null
        span?: string | null
        data?: Json
        raw?: string | null
        address?: string | null
        odd?: SamplesOdd | null
        must: SamplesMust
        many_words?: (string | null)[] | null
        many_small?: (number | null)[] | null
        many_large?: (number | null)[] | null
        many_rough?: (number | null)[] | null
        many_exact?: (number | null)[] | null
        many_truth?: (boolean | null)[] | null
        many_uid?: (string | null)[] | null
        many_moment?: (string | null)[] | null
        many_day?: (string | null)[] | null
        many_hour?: (string | null)[] | null
        many_span?: (string | null)[] | null
        many_data?: (Json | null)[] | null
        many_raw?: (string | null)[] | null
        many_address?: (string | null)[] | null
        /** [] unless given */
        many_odd?: (SamplesManyOdd | null)[]
        /** now() unless given */
        created_at?: string
        /** now() unless given */
        updated_at?: string
      }
      Patch: {
        id?: number
        words?: string | null
        small?: number | null
        large?: number | null
        rough?: number | null
        exact?: number | null
        truth?: boolean
        uid?: string | null
        moment?: string | null
        day?: string | null
        hour?: string | null
        span?: string | null
        data?: Json
        raw?: string | null
        address?: string | null
        odd?: SamplesOdd | null
        must?: SamplesMust
        many_words?: (string | null)[] | null
        many_small?: (number | null)[] | null
        many_large?: (number | null)[] | null
        many_rough?: (number | null)[] | null
        many_exact?: (number | null)[] | null
        many_truth?: (boolean | null)[] | null
        many_uid?: (string | null)[] | null
        many_moment?: (string | null)[] | null
        many_day?: (string | null)[] | null
        many_hour?: (string | null)[] | null
        many_span?: (string | null)[] | null
        many_data?: (Json | null)[] | null
        many_raw?: (string | null)[] | null
        many_address?: (string | null)[] | null
        many_odd?: (SamplesManyOdd | null)[]
        created_at?: string
        updated_at?: string
      }
      Key: 'id'
      Relations: {}
      Search: false
    }
  }
  /** The names of the buckets. */
  buckets: 'avatars' | 'exports' | 'vault'
  /** The topics of the channels. */
  channels: 'lobby' | `room:${string}` | `desk:${string}:log`
}

/** Every code that an error can have by this version. */
export type ErrorCode =
  | '21000'
  | '22001'
  | '22003'
  | '22007'
  | '22008'
  | '2201B'
  | '22023'
  | '22025'
  | '22P02'
  | '22P05'
  | '23502'
  | '23503'
  | '23505'
  | '23514'
  | '23P01'
  | '40001'
  | '40P01'
  | '42501'
  | '42703'
  | '42704'
  | '42712'
  | '42804'
  | '42883'
  | '42P10'
  | '54000'
  | '55P03'
  | '57014'
  | 'AccessDenied'
  | 'BucketAlreadyExists'
  | 'BucketDeclared'
  | 'ChannelRateLimitReached'
  | 'ClientJoinRateLimitReached'
  | 'ClientPresenceRateLimitReached'
  | 'ConnectionRateLimitReached'
  | 'DatabaseTimeout'
  | 'EntityTooLarge'
  | 'ExpiredToken'
  | 'InternalError'
  | 'InvalidBucketName'
  | 'InvalidJWT'
  | 'InvalidJWTToken'
  | 'InvalidJoinPayload'
  | 'InvalidKey'
  | 'InvalidMimeType'
  | 'InvalidParameter'
  | 'InvalidRange'
  | 'InvalidRequest'
  | 'InvalidSignature'
  | 'InvalidTusVersion'
  | 'InvalidUploadId'
  | 'InvalidUploadOffset'
  | 'InvalidUploadSignature'
  | 'JwtSignatureError'
  | 'KeyAlreadyExists'
  | 'MalformedJWT'
  | 'MissingParameter'
  | 'NoSuchBucket'
  | 'NoSuchKey'
  | 'NoSuchUpload'
  | 'NotFound'
  | 'PGRST001'
  | 'PGRST003'
  | 'PGRST100'
  | 'PGRST101'
  | 'PGRST102'
  | 'PGRST103'
  | 'PGRST105'
  | 'PGRST106'
  | 'PGRST107'
  | 'PGRST108'
  | 'PGRST114'
  | 'PGRST115'
  | 'PGRST116'
  | 'PGRST117'
  | 'PGRST118'
  | 'PGRST120'
  | 'PGRST122'
  | 'PGRST123'
  | 'PGRST124'
  | 'PGRST125'
  | 'PGRST127'
  | 'PGRST200'
  | 'PGRST201'
  | 'PGRST202'
  | 'PGRST204'
  | 'PGRST205'
  | 'PGRST301'
  | 'PGRST302'
  | 'PGRST303'
  | 'PrivateOnly'
  | 'QuotaExceeded'
  | 'ResourceLocked'
  | 'ResourceNotEmpty'
  | 'SlowDown'
  | 'StorageFull'
  | 'StorageUnavailable'
  | 'TopicNameRequired'
  | 'UnableToSubscribeToPostgres'
  | 'Unauthorized'
  | 'UnknownErrorOnChannel'
  | 'aborted'
  | 'anonymous_provider_disabled'
  | 'answer_too_large'
  | 'bad_answer'
  | 'bad_code_verifier'
  | 'bad_json'
  | 'bad_jwt'
  | 'bad_oauth_callback'
  | 'bad_oauth_state'
  | 'closed'
  | 'conflict'
  | 'current_password_invalid'
  | 'current_password_required'
  | 'email_address_invalid'
  | 'email_address_not_provided'
  | 'email_conflict_identity_not_deletable'
  | 'email_exists'
  | 'email_not_confirmed'
  | 'email_provider_disabled'
  | 'feature_disabled'
  | 'flow_state_expired'
  | 'flow_state_not_found'
  | 'headers_too_large'
  | 'identity_already_exists'
  | 'identity_not_found'
  | 'insufficient_aal'
  | 'internal'
  | 'invalid_credentials'
  | 'invalid_query'
  | 'invalid_request'
  | 'invite_not_found'
  | 'manual_linking_disabled'
  | 'method_not_allowed'
  | 'mfa_challenge_expired'
  | 'mfa_factor_name_conflict'
  | 'mfa_factor_not_found'
  | 'mfa_phone_enroll_not_enabled'
  | 'mfa_totp_enroll_not_enabled'
  | 'mfa_totp_verify_not_enabled'
  | 'mfa_verification_failed'
  | 'mfa_verified_factor_exists'
  | 'mfa_webauthn_enroll_not_enabled'
  | 'network'
  | 'no_authorization'
  | 'no_websocket'
  | 'not_admin'
  | 'not_found'
  | 'oauth_provider_not_supported'
  | 'offline'
  | 'otp_disabled'
  | 'otp_expired'
  | 'over_email_send_rate_limit'
  | 'over_request_rate_limit'
  | 'payload_too_large'
  | 'phone_provider_disabled'
  | 'provider_disabled'
  | 'provider_email_needs_verification'
  | 'reauthentication_needed'
  | 'reauthentication_not_valid'
  | 'refresh_token_already_used'
  | 'refresh_token_not_found'
  | 'refused'
  | 'request_entity_too_large'
  | 'request_timeout'
  | 'same_password'
  | 'session_expired'
  | 'session_not_found'
  | 'signup_disabled'
  | 'single_identity_not_deletable'
  | 'timeout'
  | 'too_many_enrolled_mfa_factors'
  | 'too_many_requests'
  | 'unasked_session'
  | 'unexpected_audience'
  | 'unexpected_failure'
  | 'uri_too_long'
  | 'user_already_exists'
  | 'user_banned'
  | 'user_not_found'
  | 'validation_failed'
  | 'weak_password'
